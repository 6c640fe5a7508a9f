//go:build !unix

package control

import "net"

func listen(path string) (net.Listener, error) { return net.Listen("unix", path) }

func ownFolder(string) error { return nil }
