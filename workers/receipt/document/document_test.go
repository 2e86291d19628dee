package document

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err) // a test's own literal
	}
	return t
}

// paid is the receipt of the original's example.
func paid() store.Receipt {
	finished := at("2018-11-30T11:45:37Z")
	return store.Receipt{
		CardPayment: store.CardPayment{
			Number: 2175, ReceiptID: "E76EZFQFK2FE", Amount: money.Amount{Minor: 1_213_500, Currency: store.Hryvnia}, Commission: 564,
			Status: store.StatusFinished, CardFrom: store.Card{Mask: "5269615505"}, CreatedAt: at("2018-11-30T11:44:38Z"), FinishedAt: &finished,
		},
		InvoiceNumber: 1870, ClientName: "ТОВ «Їжак і ґава»", Description: "Адміністративний збір за державну реєстрацію",
		Services: []store.Service{
			{
				Destination: "Адміністративний збір", DestinationName: "Казначейство", Account: "UA461234560000026002001304675",
				BankName: "АТ Банк", MFO: "305299", OKPO: "12345678", Description: "Виписка з реєстру", Amount: 1_209_300, Commission: 534,
			},
			{Description: "Інформаційні послуги", Amount: 4200, Commission: 30},
		},
	}
}

// text is what a reader of PDF finds in it.
func text(t *testing.T, pdf []byte) string {
	t.Helper()
	reader, err := exec.LookPath("pdftotext")
	if err != nil {
		t.Fatal("pdftotext is needed to read the receipt back: install poppler-utils")
	}
	file := filepath.Join(t.TempDir(), "receipt.pdf")
	if err := os.WriteFile(file, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), reader, "-layout", "-enc", "UTF-8", file, "-").CombinedOutput()
	if err != nil {
		t.Fatalf("pdftotext: %v: %s", err, out)
	}
	return strings.ReplaceAll(string(out), "\u00a0", " ")
}

func made(t *testing.T, r store.Receipt) []byte {
	t.Helper()
	pdf, err := PDF(r)
	if err != nil {
		t.Fatal(err)
	}
	return pdf
}

func webPage(t *testing.T, r store.Receipt, language string) string {
	t.Helper()
	html, err := HTML(r, language, "/receipt.css")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(html), "\u00a0", " ")
}

func TestAReceiptSaysWhatWasPaid(t *testing.T) {
	t.Parallel()
	reversed := at("2019-07-01T22:30:00Z")
	for _, story := range []struct {
		name         string
		change       func(*store.Receipt)
		says, hushes []string // both documents
	}{
		{
			name: "the original's example", change: func(*store.Receipt) {},
			says: []string{
				"E76EZFQFK2FE", "2175", "1870", "ТОВ «Їжак і ґава»", "Адміністративний збір за державну реєстрацію",
				"526961••••••5505", "UA461234560000026002001304675", "Казначейство", "12345678", "305299", "Виписка з реєстру",
				"30.11.2018 13:45:37", "12 093,00 грн", "42,00 грн", "12 135,00 грн", "5,64 грн", "12 140,64 грн",
			},
			hushes: []string{"Повернено", "Картка отримувача", "01.01.0001"},
		},
		{
			name: "half of it was given back", change: func(r *store.Receipt) { r.Reversed, r.CommissionReversed = 600_000, 278 },
			says: []string{"Повернено платникові", "6 002,78 грн", "12 140,64 грн"}, hushes: []string{"Повернено повністю"},
		},
		{
			name: "all of it was given back, in summer time", change: func(r *store.Receipt) {
				r.Reversed, r.CommissionReversed, r.Status, r.ReversedAt = r.Amount.Minor, r.Commission, store.StatusReversed, &reversed
			},
			says: []string{"Повернено платникові", "12 140,64 грн", "Повернено повністю", "02.07.2019 01:30:00"},
		},
		{
			name: "from card to card", change: func(r *store.Receipt) {
				r.SystemType, r.CardTo, r.Services, r.SendOperationID = store.P2P, store.Card{Mask: "4111111111"}, nil, "S-77"
			},
			says: []string{"Картка отримувача", "411111••••••1111", "S-77"}, hushes: []string{"Операція зарахування"},
		},
		{
			name: "what no font has is a box, and a control character nothing", change: func(r *store.Receipt) { r.Description = "чай\x00\n🫖\u202e та\tкава" },
			says: []string{"чай □", "кава"},
		},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			r := paid()
			story.change(&r)
			for kind, shown := range map[string]string{"PDF": text(t, made(t, r)), "page": webPage(t, r, "uk")} {
				for _, want := range story.says {
					if !strings.Contains(shown, want) {
						t.Errorf("the %s does not say %q:\n%s", kind, want, shown)
					}
				}
				for _, unwanted := range story.hushes {
					if strings.Contains(shown, unwanted) {
						t.Errorf("the %s says %q:\n%s", kind, unwanted, shown)
					}
				}
			}
		})
	}
}

func TestAPageSpeaksOneLanguage(t *testing.T) {
	t.Parallel()
	english := webPage(t, paid(), "en")
	for _, want := range []string{`<html lang="en">`, "Receipt number", "12,140.64 UAH", "5.64 UAH", `<link rel="stylesheet" href="/receipt.css">`} {
		if !strings.Contains(english, want) {
			t.Errorf("the English page does not say %q:\n%s", want, english)
		}
	}
	if strings.Contains(english, "Номер") {
		t.Errorf("the English page has Ukrainian captions:\n%s", english)
	}
	if plain, err := HTML(paid(), "uk", ""); err != nil || bytes.Contains(plain, []byte("<link")) || !bytes.Contains(plain, []byte(`<html lang="uk">`)) {
		t.Errorf("the page for mail is %s, %v, want one in Ukrainian without a stylesheet", plain, err)
	}
}

func TestAShopsTextIsTextAndNoMarkup(t *testing.T) {
	t.Parallel()
	r := paid()
	r.ClientName = `<script>alert("1")</script>`
	if html := webPage(t, r, "en"); strings.Contains(html, "<script") {
		t.Errorf("the page has a shop's markup:\n%s", html)
	}
}

func TestTheSameReceiptIsTheSameBytes(t *testing.T) {
	t.Parallel()
	if !bytes.Equal(made(t, paid()), made(t, paid())) {
		t.Error("two PDFs of one receipt differ")
	}
	if first, second := webPage(t, paid(), "uk"), webPage(t, paid(), "uk"); first != second {
		t.Error("two pages of one receipt differ")
	}
}

func TestNothingOfALongReceiptIsLost(t *testing.T) {
	t.Parallel()
	r := paid()
	r.Description = strings.Repeat("довга назва ", 83)
	r.ClientName = strings.Repeat("Щ", 1000)
	r.Services = nil
	for i := range 120 {
		r.Services = append(r.Services, store.Service{Destination: fmt.Sprintf("Послуга %d: %s", i, strings.Repeat("слово ", i)), Amount: int64(i + 1)})
	}
	shown := text(t, made(t, r))
	if pages := strings.Count(shown, "\f"); pages < 5 {
		t.Errorf("the receipt has %d pages, want many", pages)
	}
	got := map[string]int{"Щ": strings.Count(shown, "Щ"), "довга": strings.Count(shown, "довга"), "слово": strings.Count(shown, "слово"), "Послуга": strings.Count(shown, "Послуга ")}
	if diff := cmp.Diff(map[string]int{"Щ": 1000, "довга": 83, "слово": 119 * 120 / 2, "Послуга": 120}, got); diff != "" {
		t.Errorf("how often the PDF says each word (-want +got):\n%s", diff)
	}
	if !strings.Contains(shown, "1 / "+fmt.Sprint(strings.Count(shown, "\f"))) {
		t.Error("the first page does not say how many there are")
	}
}

func FuzzAnyTextMakesAReceipt(f *testing.F) {
	f.Add("чай", "☃\u0301\U0001F600", "\xff\x00")
	f.Fuzz(func(t *testing.T, name, description, destination string) {
		r := paid()
		r.ClientName, r.Description, r.Services[0].Destination = name, description, destination
		if _, err := PDF(r); err != nil {
			t.Errorf("PDF of %q, %q, %q: %v", name, description, destination, err)
		}
		if _, err := HTML(r, "uk", ""); err != nil {
			t.Errorf("page of %q, %q, %q: %v", name, description, destination, err)
		}
	})
}
