package config

import "testing"

func TestPeekReadsWhatItCan(t *testing.T) {
	const kelpie = `kelpie {
  data_dir   = "elsewhere"
  plugin_dir = "${local.base}/plugins"
}
locals {
  base = "opt"
}
`
	for name, c := range map[string]struct{ text, data, plugins string }{
		"right":          {kelpie, "elsewhere", "opt/plugins"},
		"unknown plugin": {kelpie + "detector \"none\" \"a\" {}\n", "elsewhere", "opt/plugins"},
		"no block":       {"", DefaultDataDir, DefaultPluginDir},
		"not HCL":        {kelpie + "detector {{", DefaultDataDir, DefaultPluginDir},
		"wrong type":     {"kelpie {\n  data_dir = 1\n}\n", DefaultDataDir, DefaultPluginDir},
	} {
		t.Run(name, func(t *testing.T) {
			k := Peek(&Source{Files: []File{{Name: "config.hcl", Text: c.text}}})
			if k.DataDir != c.data || k.PluginDir != c.plugins {
				t.Errorf("data_dir %q, plugin_dir %q; want %q, %q", k.DataDir, k.PluginDir, c.data, c.plugins)
			}
		})
	}
	if k := Peek(nil); k.DataDir != DefaultDataDir {
		t.Errorf("without a source, data_dir is %q", k.DataDir)
	}
}
