// Package integration proves the built binary from outside: against emulated
// regions (every `go test`) and, under the build tag integration, against the
// lab's real Swifts, with checkers that share no code with the program.
package integration
