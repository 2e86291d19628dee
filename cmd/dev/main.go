// Command dev runs Quittance on one machine: everything, with servers of its own
// (`dev run`), or any command against such servers (`dev exec`). The Makefile is how it is
// usually called.
package main

import (
	"fmt"
	"os"
)

func main() {
	code, err := command(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "dev:", err)
	}
	os.Exit(code)
}
