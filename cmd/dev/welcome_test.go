package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/quittance/quittance/deploy/local"
)

// What is to be typed in the checkout names files that are there.
func TestWelcomeNamesFilesThatAreThere(t *testing.T) {
	t.Parallel()
	root, err := local.Root()
	if err != nil {
		t.Fatal(err)
	}
	paths := regexp.MustCompile(`\bdeploy/[a-z./]*[a-z]`).FindAllString(welcome(nil), -1)
	if len(paths) != 3 {
		t.Errorf("the files are %v, want Prometheus' configuration and Grafana's two folders", paths)
	}
	for _, path := range paths {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Error(err)
		}
	}
}
