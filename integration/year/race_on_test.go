//go:build race

package year

// raced says that all takes many times as long.
const raced = true
