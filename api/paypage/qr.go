package paypage

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"strconv"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
	"github.com/gin-gonic/gin"
)

const (
	quietZone   = 4 // modules of white around the code, as ISO/IEC 18004 wants it
	modulePixel = 8 // pixels of a module's side
)

// showQR draws the address of the invoice's page: as SVG for whoever prefers it, else as PNG.
func (h *handlers) showQR(c *gin.Context) error {
	in, err := h.invoice(c)
	if err != nil {
		return err
	}
	code, err := qr.Encode(h.PublicURL+invoicePath(in.ID), qr.M, qr.Auto)
	if err != nil {
		return fmt.Errorf("QR code of invoice %s: %w", in.ID, err)
	}
	protect(c, "")
	c.Header("Cache-Control", "public, max-age=86400") // neither the address nor its picture ever changes
	c.Writer.Header().Add("Vary", "Accept")
	if prefersSVG(c.Request) {
		c.Data(http.StatusOK, "image/svg+xml", drawSVG(code))
		return nil
	}
	picture, err := drawPNG(code)
	if err != nil {
		return fmt.Errorf("QR code of invoice %s: %w", in.ID, err)
	}
	c.Data(http.StatusOK, "image/png", picture)
	return nil
}

// dark says whether a module of the code is black.
func dark(code barcode.Barcode, x, y int) bool { return code.At(x, y) == color.Black }

func drawSVG(code barcode.Barcode) []byte {
	side := code.Bounds().Dx()
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[1]d" width="%[2]d" height="%[2]d" shape-rendering="crispEdges">`,
		side+2*quietZone, (side+2*quietZone)*modulePixel)
	b.WriteString(`<path fill="#fff" d="M0 0h` + strconv.Itoa(side+2*quietZone) + `v` + strconv.Itoa(side+2*quietZone) + `H0z"/><path d="`)
	for y := range side {
		for x := range side {
			if dark(code, x, y) {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x+quietZone, y+quietZone)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.Bytes()
}

func drawPNG(code barcode.Barcode) ([]byte, error) {
	side := (code.Bounds().Dx() + 2*quietZone) * modulePixel
	picture := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			mx, my := x/modulePixel-quietZone, y/modulePixel-quietZone
			if image.Pt(mx, my).In(code.Bounds()) && dark(code, mx, my) {
				picture.SetColorIndex(x, y, 1)
			}
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, picture)
	return b.Bytes(), err
}

// prefersSVG says that the request accepts SVG, and PNG less (RFC 9110, 12.5.1).
func prefersSVG(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return accepted(accept, "image/svg+xml") > accepted(accept, "image/png")
}

// accepted is how much a kind of picture is wanted, from 0 to 1: the most specific range that
// covers it counts.
func accepted(accept, kind string) float64 {
	weights := map[string]float64{}
	for part := range strings.SplitSeq(accept, ",") {
		parameters := strings.Split(part, ";")
		weight := 1.0
		for _, p := range parameters[1:] {
			if name, value, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(name, "q") {
				weight, _ = strconv.ParseFloat(value, 64)
			}
		}
		weights[strings.ToLower(strings.TrimSpace(parameters[0]))] = weight
	}
	for _, covering := range []string{kind, "image/*", "*/*"} {
		if weight, named := weights[covering]; named {
			return weight
		}
	}
	return 0
}
