// Package plugins without service discovery: the tests name their targets.
package plugins
