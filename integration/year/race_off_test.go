//go:build !race

package year

const raced = false
