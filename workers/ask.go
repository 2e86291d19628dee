package workers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Ask returns nil where the process that serves on addr answers GET path with 200, and else
// what it answers. It is how an image without a shell checks its health: its program asks
// itself. An addr of all interfaces is asked at 127.0.0.1.
func Ask(ctx context.Context, addr, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second) // twice what /readyz gives its checks
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+nearest(addr)+path, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy: it is this machine
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // half of it says something, too
		return fmt.Errorf("%s answers %s: %s", path, resp.Status, body)
	}
	return nil
}

// nearest is where this machine reaches what listens on addr.
func nearest(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr // and the request says what is wrong with it
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
