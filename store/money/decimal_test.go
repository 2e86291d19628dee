package money

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestADecimalIsReadExactly(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		text     string
		currency Currency
		minor    int64
		want     error
	}{
		{"12.5", 810, 1250, nil},
		{"12.50", 810, 1250, nil},
		{"1.25e1", 810, 1250, nil},
		{"1250E-2", 810, 1250, nil},
		{"0.0000125e+6", 810, 1250, nil},
		{"12.500000000000000000000000000000000", 810, 1250, nil},
		{"0.29", 810, 29, nil}, // a float times 100 is 28.999999999999996
		{"3", 392, 3, nil},
		{"1.000", 392, 1, nil},
		{"0.001", 414, 1, nil},
		{"92233720368547758.07", 840, math.MaxInt64, nil},
		{"9223372036854775807", 392, math.MaxInt64, nil},
		{"0.001", 810, 0, ErrTooPrecise},
		{"12.501", 810, 0, ErrTooPrecise},
		{"0.5", 392, 0, ErrTooPrecise},
		{"1e-999999999", 810, 0, ErrTooPrecise},
		{"92233720368547758.08", 840, 0, ErrOverflow},
		{"9223372036854775808", 392, 0, ErrOverflow},
		{"99999999999999999999", 392, 0, ErrOverflow},
		{"1e999999999", 810, 0, ErrOverflow},
		{"1e99999999999999999999999", 810, 0, ErrOverflow},
		{"0", 810, 0, ErrNotPositive},
		{"-0.0", 810, 0, ErrNotPositive},
		{"0e999999999", 810, 0, ErrNotPositive},
		{"-12.5", 810, 0, ErrNotPositive},
		{"1", 1, 0, ErrUnknownCurrency},
	} {
		d, err := ParseDecimal(story.text)
		if err != nil {
			t.Errorf("%s: %v", story.text, err)
			continue
		}
		got, err := d.In(story.currency)
		if got.Minor != story.minor || !errors.Is(err, story.want) {
			t.Errorf("%s %s: %d, %v, want %d, %v", story.text, story.currency.Alpha(), got.Minor, err, story.minor, story.want)
		}
	}
}

func TestADecimalIsScaledExactly(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		text   string
		places int
		scaled int64
		want   error
	}{
		{"2.5", 3, 2500, nil},
		{"0.001", 3, 1, nil},
		{"-0.5", 1, -5, nil},
		{"0", 3, 0, nil},
		{"0e-9", 0, 0, nil},
		{"-9223372036854775.808", 3, math.MinInt64, nil},
		{"2.0005", 3, 0, ErrTooPrecise},
		{"-9223372036854775.809", 3, 0, ErrOverflow},
	} {
		d, err := ParseDecimal(story.text)
		if err != nil {
			t.Errorf("%s: %v", story.text, err)
			continue
		}
		got, err := d.Scaled(story.places)
		if got != story.scaled || !errors.Is(err, story.want) {
			t.Errorf("%s with %d places: %d, %v, want %d, %v", story.text, story.places, got, err, story.scaled, story.want)
		}
	}
}

func TestWhatIsNoJSONNumberIsNoDecimal(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", " 1", "1 ", "1\n", "+1", "01", "-", "-01", ".5", "5.", "1e", "1e+", "1.e1", "0x10", "1_000", "1,5", "NaN", "Infinity", "½", "١", "1/2", "1e1.5", "--1"} {
		if d, err := ParseDecimal(text); !errors.Is(err, ErrNotANumber) {
			t.Errorf("%q was read as %v, %v", text, d, err)
		}
	}
}

func TestHostileNumbersCostNoMoreThanTheirLength(t *testing.T) {
	t.Parallel()
	nines, zeros := strings.Repeat("9", 10_000), strings.Repeat("0", 10_000)
	for _, story := range []struct {
		text string
		want error
	}{
		{nines, ErrOverflow},
		{"0." + nines, ErrTooPrecise},
		{"1e" + nines, ErrOverflow},
		{"1e-" + nines, ErrTooPrecise},
		{"1" + zeros + "e-10000", nil},
		{"0." + zeros + "1e10001", nil},
		{"1e" + zeros + "2", nil},
		{"0e" + nines, ErrNotPositive},
	} {
		d, err := ParseDecimal(story.text)
		if err != nil {
			t.Fatalf("%.20s…: %v", story.text, err)
		}
		if _, err := d.In(810); !errors.Is(err, story.want) {
			t.Errorf("%.20s…: %v, want %v", story.text, err, story.want)
		}
	}
}

func TestAmountsAreShownInTheirShortestExactForm(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		minor    int64
		currency Currency
		want     string
	}{
		{1250, 810, "12.5"},
		{300, 810, "3"},
		{5, 810, "0.05"},
		{100000, 810, "1000"},
		{1000, 392, "1000"}, // no decimals: its zeros stay
		{1, 414, "0.001"},
		{12340, 990, "1.234"},
		{0, 810, "0"},
		{-1250, 810, "-12.5"},
		{math.MaxInt64, 840, "92233720368547758.07"},
		{math.MinInt64, 840, "-92233720368547758.08"},
	} {
		if got := (Amount{story.minor, story.currency}).Decimal(); got != story.want {
			t.Errorf("%d of %s: %q, want %q", story.minor, story.currency.Alpha(), got, story.want)
		}
	}
}

func TestPrintThenParseIsTheSameAmountInEveryCurrency(t *testing.T) {
	t.Parallel()
	for c := range currencies {
		rapid.Check(t, func(t *rapid.T) {
			minor := rapid.OneOf(rapid.Int64Range(1, 100_000), rapid.Int64Range(1, math.MaxInt64), rapid.Int64Range(math.MaxInt64-9, math.MaxInt64))
			a := Amount{minor.Draw(t, "minor"), c}
			shown := a.Decimal()
			d, err := ParseDecimal(shown)
			if err != nil {
				t.Fatalf("%v is shown as %q: %v", a, shown, err)
			}
			if back, err := d.In(c); err != nil || back != a {
				t.Fatalf("%v is shown as %q, which is %v, %v", a, shown, back, err)
			}
			if strings.ContainsAny(shown, "eE") || strings.Contains(shown, ".") && strings.HasSuffix(shown, "0") {
				t.Fatalf("%v is shown as %q", a, shown)
			}
		})
	}
}

func TestParseThenPrintIsTheSameNumberInEveryCurrency(t *testing.T) {
	t.Parallel()
	for c := range currencies {
		rapid.Check(t, func(t *rapid.T) {
			text := spelling(t, rapid.Int64Range(1, math.MaxInt64).Draw(t, "minor"), c.Exponent())
			d, err := ParseDecimal(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			a, err := d.In(c)
			if err != nil {
				t.Fatalf("%q %s: %v", text, c.Alpha(), err)
			}
			if again, err := ParseDecimal(a.Decimal()); err != nil || again != d {
				t.Fatalf("%q %s is shown as %q, another number", text, c.Alpha(), a.Decimal())
			}
		})
	}
}

// spelling writes minor·10^-decimals in one of the many ways of JSON.
func spelling(t *rapid.T, minor int64, decimals int) string {
	digits := strconv.FormatInt(minor, 10)
	point := rapid.IntRange(0, 30).Draw(t, "decimals as written")
	if len(digits) <= point {
		digits = strings.Repeat("0", point-len(digits)+1) + digits
	}
	text := digits
	if point > 0 {
		text = digits[:len(digits)-point] + "." + digits[len(digits)-point:] + strings.Repeat("0", rapid.IntRange(0, 5).Draw(t, "more zeros"))
	}
	if exponent := point - decimals; exponent != 0 {
		text += rapid.SampledFrom([]string{"e", "E"}).Draw(t, "e")
		if exponent > 0 && rapid.Bool().Draw(t, "plus") {
			text += "+"
		}
		text += strconv.Itoa(exponent)
	}
	return text
}

func TestEveryCurrencyIsFoundByItsLetters(t *testing.T) {
	t.Parallel()
	for c := range currencies {
		if got, ok := ParseAlpha(c.Alpha()); !ok || got != c {
			t.Errorf("%s of %d is %d, %v", c.Alpha(), c, got, ok)
		}
	}
	for _, text := range []string{"", "rur", "810", "RUR ", "XXX", "QQQ"} {
		if c, ok := ParseAlpha(text); ok {
			t.Errorf("%q is %d", text, c)
		}
	}
}

// A decimal is read exactly if JSON has it as a number, and is then that number: rationals
// of any size decide. What is shown is read back as the same.
func FuzzParseDecimal(f *testing.F) {
	for _, text := range []string{"12.5", "-0", "1.25e1", "0.001", "1e999999999", "9223372036854775807", "01", "1e-3", ".5", "1E+02", "0e5", "123456789012345678901234567890"} {
		f.Add(text, uint16(810))
		f.Add(text, uint16(414))
	}
	f.Fuzz(func(t *testing.T, text string, number uint16) {
		d, err := ParseDecimal(text)
		if is := isJSONNumber(text); (err == nil) != is {
			t.Fatalf("%q: %v, a JSON number: %v", text, err, is)
		}
		if err != nil {
			return
		}
		c := Currency(number)
		a, err := d.In(c)
		exact, small := minorUnits(text, c)
		if small && !agree(a, err, exact, c) {
			t.Errorf("%q %s: %v, %v; exactly it is %s minor units", text, c.Alpha(), a, err, exact)
		}
		if again, parsed := ParseDecimal(a.Decimal()); err == nil && (parsed != nil || again != d) {
			t.Errorf("%q %s is shown as %q", text, c.Alpha(), a.Decimal())
		}
	})
}

func isJSONNumber(text string) bool {
	return text != "" && strings.Trim(text, " \t\r\n") == text && strings.ContainsAny(text[:1], "-0123456789") && json.Valid([]byte(text))
}

// minorUnits is the number times 10^exponent, where that can be written out.
func minorUnits(text string, c Currency) (exact *big.Rat, small bool) {
	if _, e, has := strings.Cut(strings.ToLower(text), "e"); has {
		if n, err := strconv.Atoi(e); err != nil || n > 2000 || n < -2000 {
			return nil, false
		}
	}
	exact, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, false
	}
	return exact.Mul(exact, new(big.Rat).SetInt64(int64(math.Pow10(c.Exponent())))), true
}

// agree says that what In returned is what the exact number of minor units calls for.
func agree(a Amount, err error, exact *big.Rat, c Currency) bool {
	switch {
	case !c.Known():
		return errors.Is(err, ErrUnknownCurrency)
	case exact.Sign() <= 0:
		return errors.Is(err, ErrNotPositive)
	case !exact.IsInt():
		return errors.Is(err, ErrTooPrecise)
	case !exact.Num().IsInt64():
		return errors.Is(err, ErrOverflow)
	}
	return err == nil && a == Amount{Minor: exact.Num().Int64(), Currency: c}
}
