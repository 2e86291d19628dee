package money

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

var (
	// ErrNotANumber says that a text is not a JSON number.
	ErrNotANumber = errors.New("not a number")
	// ErrTooPrecise says that a number has more decimals than its currency.
	ErrTooPrecise = errors.New("amount has too many decimals")
)

// Decimal is an exact decimal number of any scale. Two are equal (==) exactly if the
// numbers are, however they were written. The zero value is 0.
type Decimal struct {
	negative bool
	digits   string // without a zero at either end; none for 0
	exponent int64  // of the last digit: 12.5 is 125 and -1
}

// number is the grammar of JSON (RFC 8259, 6): sign, whole, fraction, exponent.
var number = regexp.MustCompile(`^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$`)

// ParseDecimal reads a JSON number, exactly. Its work is linear in the length of the text,
// whatever the exponent: nothing is multiplied out. Its error is ErrNotANumber.
func ParseDecimal(text string) (Decimal, error) {
	parts := number.FindStringSubmatch(text)
	if parts == nil {
		return Decimal{}, ErrNotANumber
	}
	sign, whole, fraction := parts[1], parts[2], parts[3]
	written := whole + fraction
	digits := strings.TrimRight(written, "0")
	cut := len(written) - len(digits)
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return Decimal{}, nil
	}
	return Decimal{
		negative: sign == "-",
		digits:   digits,
		exponent: parseExponent(parts[4]) - int64(len(fraction)) + int64(cut),
	}, nil
}

// far is an exponent that no digits of a text can make up for, and that can still be added
// to their number without overflow.
const far = 1 << 40

func parseExponent(text string) int64 {
	e, _ := strconv.ParseInt(text, 10, 64) // "" is 0; beyond 64 bits it is the nearest that fits
	return max(-far, min(e, far))
}

// maxDigits is how many digits an int64 may have.
const maxDigits = 19

// In returns the number as an amount that may be moved: 12.5 is 1250 minor units of RUR.
// Nothing is rounded. Its errors are ErrUnknownCurrency, ErrNotPositive, ErrTooPrecise and
// ErrOverflow.
func (d Decimal) In(c Currency) (Amount, error) {
	switch {
	case !c.Known():
		return Amount{}, ErrUnknownCurrency
	case d.negative || d.digits == "":
		return Amount{}, ErrNotPositive
	}
	minor, err := d.Scaled(c.Exponent())
	if err != nil {
		return Amount{}, err
	}
	return Amount{Minor: minor, Currency: c}, nil
}

// Scaled returns the number times ten to the power of places, if that is whole: 2.5 is 2500
// with three places. Nothing is rounded. Its errors are ErrTooPrecise and ErrOverflow.
func (d Decimal) Scaled(places int) (int64, error) {
	zeros := d.exponent + int64(places)
	switch {
	case d.digits == "":
		return 0, nil
	case zeros < 0: // the last digit is not 0
		return 0, ErrTooPrecise
	case int64(len(d.digits))+zeros > maxDigits:
		return 0, ErrOverflow
	}
	text := d.digits + strings.Repeat("0", int(zeros))
	if d.negative {
		text = "-" + text
	}
	scaled, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, ErrOverflow
	}
	return scaled, nil
}

// Decimal shows the amount as a JSON number in its shortest exact form: 12.5, 3, 0.05.
func (a Amount) Decimal() string {
	shown, _, _ := strings.Cut(a.String(), " ")
	if strings.Contains(shown, ".") {
		shown = strings.TrimRight(strings.TrimRight(shown, "0"), ".")
	}
	return shown
}
