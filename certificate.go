package main

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
)

// A certificate is a TLS certificate with its key, read from two files and,
// after they were renewed, read again.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// load reads the files. After an error the certificate is as it was.
func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("reading the TLS certificate: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

// config returns how to serve TLS with what was loaded last.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}
