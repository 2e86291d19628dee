package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/quittance/quittance/deploy/local"
)

// browser is a headless Chromium. What it does by itself is switched off, so that each request
// it makes is one of the page's.
type browser struct {
	t       *testing.T
	ctx     context.Context
	screens string // where pictures go
}

// startBrowser starts the Chromium of this machine. The test is skipped only where there is none.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("NO CHROMIUM: the payment page was not tried in a browser; install chromium and run this again")
	}
	root, err := local.Root()
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, screens: filepath.Join(root, ".local", "screens")}
	if err := os.MkdirAll(b.screens, 0o755); err != nil {
		t.Fatal(err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(900, 900),
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-extensions", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	b.ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(b.ctx); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	return b
}

// action is something that a tab does.
type action = chromedp.Action[chromedp.Void]

// protocol runs one of the browser's commands.
func protocol[P, R any](c cdp.Command[P, R], params P) action {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, c, params)
		return chromedp.Void{}, err
	}
}

// tab is a page of a browser that knows nothing of the others': no cookie, no memory.
type tab struct {
	t       *testing.T
	ctx     context.Context
	screens string
	name    string

	mu       sync.Mutex
	hosts    map[string]bool // that anything was requested from
	troubles []string        // exceptions, and what the policy forbade
}

// pageWithin is how long a page may take to say what is waited for.
const pageWithin = 15 * time.Second

// tab opens one. When the test ends its console must have complained of nothing.
func (b *browser) tab(t *testing.T, prepare ...action) *tab {
	t.Helper()
	tabCtx, closeTab := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	ctx, stop := context.WithTimeout(tabCtx, 2*time.Minute)
	p := &tab{t: t, ctx: ctx, screens: b.screens, name: strings.NewReplacer("_", "-", ",", "").Replace(filepath.Base(t.Name())), hosts: make(map[string]bool)}
	if err := chromedp.Listen(tabCtx, p.listen); err != nil { // which opens the tab, for as long as that context lives
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		closeTab()
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.troubles) > 0 {
			t.Errorf("the browser complains: %s", strings.Join(p.troubles, "\n"))
		}
	})
	p.do(protocol(log.Enable, cdp.Empty{}), protocol(network.Enable, network.EnableParams{}), protocol(runtime.Enable, cdp.Empty{}))
	p.do(prepare...)
	return p
}

func (p *tab) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Host != "" {
			p.hosts[u.Host] = true
		}
	case *runtime.EventExceptionThrown:
		p.troubles = append(p.troubles, fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			p.troubles = append(p.troubles, e.Entry.Text)
		}
	case *runtime.EventConsoleAPICalled:
		p.troubles = append(p.troubles, fmt.Sprintf("console %s", e.Type))
	}
}

// asked are the hosts that the tab has asked for anything.
func (p *tab) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var hosts []string
	for h := range p.hosts {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	return hosts
}

func (p *tab) do(actions ...action) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, pageWithin)
	defer stop()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%v; the page is %s", err, p.text("body"))
	}
}

func (p *tab) open(address string) {
	p.t.Helper()
	p.do(chromedp.Navigate(address))
}

// text is what an element says, "" where there is none.
func (p *tab) text(selector string) string {
	said, _ := evaluate[string](p, fmt.Sprintf(`(document.querySelector(%q) || {innerText: ""}).innerText`, selector)) // between two pages there is none
	return strings.ReplaceAll(said, "\u00a0", " ")
}

func evaluate[T any](p *tab, expression string) (T, error) {
	ctx, stop := context.WithTimeout(p.ctx, 5*time.Second)
	defer stop()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression))
}

// value is that of an expression.
func value[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := evaluate[T](p, expression)
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// await waits until an element says this.
func (p *tab) await(selector, want string) {
	p.t.Helper()
	deadline := time.Now().Add(pageWithin)
	for !strings.Contains(p.text(selector), want) {
		if time.Now().After(deadline) {
			p.shoot("failed")
			p.t.Fatalf("%s does not say %q; the page is %s", selector, want, p.text("body"))
		}
		time.Sleep(20 * time.Millisecond) // nobody announces it to us
	}
}

// fill types into a field, whatever is in it.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.do(
		chromedp.WaitVisible(chromedp.CSS(selector)),
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector(%q).value = ""`, selector)),
		chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// back presses the browser's button.
func (p *tab) back() {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void]("setTimeout(() => history.back())"))
}

// shoot writes a picture of the whole page.
func (p *tab) shoot(state string) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, pageWithin)
	defer stop()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Errorf("picture of %s: %v", state, err)
		return
	}
	if err := os.WriteFile(filepath.Join(p.screens, p.name+"-"+state+".png"), picture, 0o644); err != nil {
		p.t.Error(err)
	}
}

// withoutScript is a browser whose user has switched JavaScript off.
func withoutScript() action {
	return protocol(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

func inUkrainian() action {
	return protocol(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": "uk-UA,uk;q=0.9,en;q=0.5"}})
}

func inTheDark() action {
	return protocol(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
}
