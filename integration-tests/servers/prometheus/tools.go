//go:build tools

// Package tools pins the Prometheus main program, so that go.mod and go.sum alone say what is built.
package tools

import _ "github.com/prometheus/prometheus/cmd/prometheus"
