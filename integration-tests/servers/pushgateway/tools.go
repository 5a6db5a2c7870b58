//go:build tools

// Package tools pins the Pushgateway main program, so that go.mod and go.sum alone say what is built.
package tools

import _ "github.com/prometheus/pushgateway"
