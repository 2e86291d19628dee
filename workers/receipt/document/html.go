package document

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"github.com/quittance/quittance/store"
)

//go:embed receipt.html
var pageText string

var page = template.Must(template.New("receipt").Parse(pageText))

// HTML returns the receipt as a page in language, "uk" or "en". stylesheet is the address of
// one; "" leaves the page plain.
func HTML(r store.Receipt, language, stylesheet string) ([]byte, error) {
	if language != "uk" {
		language = "en"
	}
	var b bytes.Buffer
	err := page.Execute(&b, map[string]any{
		"Language": language, "Stylesheet": stylesheet, "Content": spelledOut(contentOf(r, language), language),
		"Title": receiptTitle.in(language), "Positions": positionsHead.in(language), "Amount": amountHead.in(language),
	})
	if err != nil {
		return nil, fmt.Errorf("receipt %s as a page: %w", r.ReceiptID, err)
	}
	return b.Bytes(), nil
}

// row is a fact in one language.
type row struct{ Label, Value string }

func spelledOut(c content, language string) map[string]any {
	rows := func(facts []fact) (in []row) {
		for _, f := range facts {
			in = append(in, row{f.Label.in(language), f.Value})
		}
		return in
	}
	var positions []map[string]any
	for _, p := range c.Positions {
		positions = append(positions, map[string]any{"Name": p.Name, "Details": rows(p.Details), "Amount": p.Amount})
	}
	return map[string]any{
		"Number": c.Number, "Facts": rows(c.Facts), "Positions": positions, "Sums": rows(c.Sums), "Returned": rows(c.Returned),
	}
}
