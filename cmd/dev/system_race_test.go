//go:build race

package main

// raced says that this test looks for races, and so should the programs that it runs.
const raced = true
