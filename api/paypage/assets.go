package paypage

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
)

// asset is a file of ours that a page loads.
type asset struct {
	path    string
	kind    string
	content []byte
	version string
}

func newAsset(name, kind string) asset {
	content, err := files.ReadFile("page/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(content)
	return asset{"/i/-/" + name, kind, content, base64.RawURLEncoding.EncodeToString(sum[:6])}
}

// address changes with the content, so browsers may keep what is at it.
func (a asset) address() string { return a.path + "?v=" + a.version }

var (
	script = newAsset("page.js", "text/javascript; charset=utf-8")
	style  = newAsset("page.css", "text/css; charset=utf-8")
	icon   = newAsset("icon.svg", "image/svg+xml")

	scriptAddress, styleAddress = script.address(), style.address()
)

func assetRoutes() []api.Route {
	var routes []api.Route
	for _, a := range []asset{script, style, icon} {
		routes = append(routes, api.Route{Method: http.MethodGet, Path: a.path, Who: "anyone", Handle: a.send})
	}
	return routes
}

// send sends the file. Asked for another version's, by a page of another release, it sends
// ours, which must not be kept under that name.
func (a asset) send(c *gin.Context) error {
	protect(c, "")
	if c.Query("v") == a.version {
		c.Header("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		c.Header("Cache-Control", "no-cache")
	}
	c.Data(http.StatusOK, a.kind, a.content)
	return nil
}
