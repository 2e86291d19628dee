package main

import (
	"testing"

	"github.com/quittance/quittance/deploy/docs/docstest"
	"github.com/quittance/quittance/store/storetest"
)

func TestEveryMetricOfTheAPIIsDescribed(t *testing.T) {
	t.Parallel()
	m := newMetrics(storetest.New(t).Store)
	docstest.CheckMetrics(t, "../../deploy/docs/metrics.md", "api", m.registry())
}
