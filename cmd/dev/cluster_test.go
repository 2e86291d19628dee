//go:build cluster

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/quittance/quittance/deploy/local"
	"github.com/quittance/quittance/migrations"
	"github.com/quittance/quittance/queue"
)

// clusterLoad are clients of a system whose servers are more than one each.
func (s *system) clusterLoad(random *rand.Rand) (l *load, total int) {
	s.t.Helper()
	o := s.backOffice()
	const each, people = 3000, 20
	phones := make([]phone, people)
	for i := range phones {
		phones[i] = s.phone(each)
	}
	l = o.startLoad(random, 6, phones)
	l.awaitSettled(200)
	return l, each * people
}

// settlesAgain pays an invoice, and fails where that is not settled ten seconds after something
// happened.
func (l *load) settlesAgain(after string, happened time.Time) {
	l.t.Helper()
	from, to := l.phones[0], l.phones[1]
	made, err := l.insist("/mobile-api/invoice/make", makeBody(from, to, 1))
	if err != nil {
		l.t.Fatal(err)
	}
	b := billOf(made, from, to, 1)
	a, err := l.insist(payPath, b.payment)
	if err != nil {
		l.t.Fatal(err)
	}
	l.accept(b, a)
	eventually(l.t, patience, "a payment is settled", func() bool {
		return l.count("SELECT count(*) FROM operations WHERE id = $1 AND finished_at IS NOT NULL", a.operation()) == 1
	})
	took := time.Since(happened)
	l.t.Logf("%s: settled again after %s", after, took.Round(time.Millisecond))
	if took > 10*time.Second {
		l.t.Errorf("%s: settled again after %s, want 10 s at most", after, took)
	}
}

// The node that leads the queue of payments is killed, again and again: another one leads, and
// nothing is lost.
func TestClusterOutlivesTheNodesThatLead(t *testing.T) {
	dir := t.TempDir()
	servers, err := local.Start(t.Context(), local.Options{Dir: filepath.Join(dir, "servers"), Fresh: true, WithoutRabbitMQ: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { discard(t, servers, dir) })
	cluster, err := local.StartCluster(t.Context(), filepath.Join(dir, "cluster"), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Kill)
	s := startAlone(t, servers.Postgres.URL("quittance"), cluster.URL())

	l, total := s.clusterLoad(rand.New(rand.NewPCG(1, 0)))
	for _, of := range []string{queue.Payments, queue.Recharges, queue.Payments} {
		leader, err := cluster.Leader(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		leader.Kill()
		l.settlesAgain(leader.String()+", which led "+of+", was killed", killed)
		l.awaitSettled(200)
		if err := leader.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.awaitSettled(50)
	}
	l.stop()
	l.check(total)
}

// The primary is killed, and the standby that every commit had waited for takes its place:
// whatever was accepted is there, and api and worker find it by themselves.
func TestClusterOutlivesThePrimary(t *testing.T) {
	dir := t.TempDir()
	servers, err := local.Start(t.Context(), local.Options{Dir: filepath.Join(dir, "servers"), Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { discard(t, servers, dir) })
	standby, err := servers.Postgres.StartStandby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Kill)
	database, err := url.Parse(servers.Postgres.URL("quittance"))
	if err != nil {
		t.Fatal("the server's URL is not one")
	}
	second, err := url.Parse(standby.URL("quittance"))
	if err != nil {
		t.Fatal("the standby's URL is not one")
	}
	database.Host += "," + second.Host
	database.RawQuery += "&target_session_attrs=read-write"
	s := startAlone(t, database.String(), servers.RabbitMQ.URL())

	l, total := s.clusterLoad(rand.New(rand.NewPCG(2, 0)))
	killed := time.Now()
	servers.Postgres.Kill()
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.books.Pool().Reset() // ours is the one client that does not try again
	l.settlesAgain("the primary was killed", killed)
	l.awaitSettled(200)
	l.stop()
	l.check(total)
	s.awaitReady(s.api, s.worker)
}

// startAlone starts a system on servers that nobody else uses.
func startAlone(t *testing.T, database, broker string) *system {
	t.Helper()
	if _, err := migrations.Up(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	s := start(t, false, database, broker)
	s.outages = true
	return s
}

func discard(t *testing.T, servers *local.Servers, dir string) {
	if err := errors.Join(servers.Kill(), local.Remove(context.Background(), dir)); err != nil {
		t.Error(err)
	}
}
