package document

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"

	"github.com/quittance/quittance/store"
)

//go:embed font/DejaVuSans.ttf
var dejaVuSans []byte

// The sheet is A4; all lengths are millimetres, sizes of letters points.
const (
	margin     = 20.0
	width      = 210 - 2*margin
	labelWidth = 58.0
	sumWidth   = 42.0
	lineHeight = 5.2

	titleSize  = 20.0
	normalSize = 10.0
	smallSize  = 8.0
)

// PDF returns the receipt as a PDF of A4 pages whose text can be searched and copied.
func PDF(r store.Receipt) ([]byte, error) {
	s := newSheet(r)
	c := contentOf(r, "uk")
	s.title(c)
	for _, f := range c.Facts {
		s.fact(f)
	}
	s.positions(c.Positions)
	s.sums(c)

	var b bytes.Buffer
	if err := s.pdf.Output(&b); err != nil {
		return nil, fmt.Errorf("receipt %s as PDF: %w", r.ReceiptID, err)
	}
	return b.Bytes(), nil
}

// sheet is a PDF that is written from top to bottom.
type sheet struct{ pdf *fpdf.Fpdf }

func newSheet(r store.Receipt) sheet {
	pdf := fpdf.New("P", "mm", "A4", "")
	pdf.SetCatalogSort(true) // and no time of ours: the same receipt is the same bytes
	made := madeAt(r)
	pdf.SetCreationDate(made)
	pdf.SetModificationDate(made)
	pdf.SetProducer("Quittance", true)
	pdf.SetTitle(receiptTitle.uk+" "+r.ReceiptID, true)
	pdf.SetLang("uk")
	pdf.AddUTF8FontFromBytes("DejaVu", "", dejaVuSans)
	pdf.SetMargins(margin, margin, margin)
	pdf.SetAutoPageBreak(true, margin+5)
	pdf.SetCellMargin(0)
	pdf.AliasNbPages("{pages}")
	s := sheet{pdf}
	pdf.SetFooterFunc(func() {
		pdf.SetY(-margin)
		s.cell(width, lineHeight, piece{fmt.Sprintf("%s %s · %d / {pages}", receiptTitle.uk, r.ReceiptID, pdf.PageNo()), smallSize, grey}, "C")
	})
	pdf.AddPage()
	return s
}

// madeAt is when the payment became what the receipt says.
func madeAt(r store.Receipt) time.Time {
	for _, at := range []*time.Time{r.ReversedAt, r.FinishedAt} {
		if at != nil {
			return at.UTC()
		}
	}
	return r.CreatedAt.UTC()
}

// shade is a level of grey, from 0 for black.
type shade int

const (
	black shade = 20
	grey  shade = 110
	pale  shade = 205
)

// piece is what one line of a column says.
type piece struct {
	text  string
	size  float64
	shade shade
}

func (s sheet) title(c content) {
	s.cell(width, 9, piece{receiptTitle.uk + " / " + receiptTitle.en, titleSize, black}, "L")
	s.pdf.Ln(9)
	s.cell(width, 7, piece{"№ " + c.Number, 12, grey}, "L")
	s.pdf.Ln(12)
}

// fact writes a caption, Ukrainian with the English below it, and the value beside them.
func (s sheet) fact(f fact) {
	s.columns(labelWidth, s.caption(f.Label, labelWidth), width-labelWidth, s.wrapped(f.Value, normalSize, black, width-labelWidth), "L")
	s.pdf.Ln(1.5)
}

func (s sheet) caption(l label, within float64) []piece {
	return append(s.wrapped(l.uk, normalSize, grey, within-3), s.wrapped(l.en, smallSize, grey, within-3)...)
}

func (s sheet) positions(all []position) {
	if len(all) == 0 {
		return
	}
	s.pdf.Ln(3)
	nameWidth := width - sumWidth
	s.columns(nameWidth, s.caption(positionsHead, nameWidth), sumWidth, s.caption(amountHead, sumWidth), "R")
	s.rule()
	for _, p := range all {
		left := s.wrapped(p.Name, normalSize, black, nameWidth-5)
		for _, d := range p.Details {
			left = append(left, s.wrapped(d.Label.uk+": "+d.Value, smallSize, grey, nameWidth-5)...)
		}
		s.columns(nameWidth, left, sumWidth, []piece{{p.Amount, normalSize, black}}, "R")
		s.rule()
	}
}

func (s sheet) sums(c content) {
	s.pdf.Ln(3)
	for i, f := range c.Sums {
		size := normalSize
		if i == len(c.Sums)-1 {
			size = 13
		}
		s.sum(f, size)
	}
	for _, f := range c.Returned {
		s.sum(f, normalSize)
	}
}

func (s sheet) sum(f fact, size float64) {
	left := []piece{{f.Label.uk + " / " + f.Label.en, size, black}}
	s.columns(width/2+20, left, width/2-20, []piece{{f.Value, size, black}}, "R")
	s.pdf.Ln(1.5)
}

// rule draws a line across the page.
func (s sheet) rule() {
	s.pdf.Ln(1)
	s.pdf.SetDrawColor(int(pale), int(pale), int(pale))
	s.pdf.Line(margin, s.pdf.GetY(), margin+width, s.pdf.GetY())
	s.pdf.Ln(1.5)
}

// columns writes two columns line by line, so that a page may end after any of them.
func (s sheet) columns(leftWidth float64, left []piece, rightWidth float64, right []piece, align string) {
	for i := range max(len(left), len(right)) {
		s.cell(leftWidth, lineHeight, nth(left, i), "L")
		s.cell(rightWidth, lineHeight, nth(right, i), align)
		s.pdf.Ln(lineHeight)
	}
}

func nth(pieces []piece, i int) piece {
	if i < len(pieces) {
		return pieces[i]
	}
	return piece{size: normalSize}
}

func (s sheet) cell(w, h float64, p piece, align string) {
	s.letters(p.size)
	s.pdf.SetTextColor(int(p.shade), int(p.shade), int(p.shade))
	s.pdf.CellFormat(w, h, p.text, "", 0, align, false, 0, "")
}

func (s sheet) letters(size float64) { s.pdf.SetFont("DejaVu", "", size) }

// wrapped breaks a text into lines, between words where it can.
func (s sheet) wrapped(text string, size float64, tone shade, within float64) []piece {
	s.letters(size)
	var lines []piece
	line := ""
	for _, word := range strings.Split(text, " ") {
		if longer := strings.TrimLeft(line+" "+word, " "); s.pdf.GetStringWidth(longer) <= within {
			line = longer
			continue
		}
		if line != "" {
			lines = append(lines, piece{line, size, tone})
		}
		for line = word; s.pdf.GetStringWidth(line) > within; {
			cut := s.fitting(line, within)
			lines = append(lines, piece{line[:cut], size, tone})
			line = line[cut:]
		}
	}
	return append(lines, piece{line, size, tone})
}

// fitting is how many bytes of a word fit: those of one character at least.
func (s sheet) fitting(word string, within float64) int {
	fits := 0
	for i := range word {
		if i > 0 && s.pdf.GetStringWidth(word[:i]) > within {
			break
		}
		fits = i
	}
	if fits == 0 {
		for i := range word {
			if i > 0 {
				return i
			}
		}
		return len(word)
	}
	return fits
}
