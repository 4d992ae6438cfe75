package config

// Peek reads what the kelpie block says, as far as it can be read, whatever is wrong
// elsewhere: a plugin that has no schema yet is looked for in plugin_dir, and a case
// can be shown though the configuration is broken. What cannot be read is its default.
func Peek(src *Source) (k Kelpie) {
	k = Kelpie{DataDir: DefaultDataDir, PluginDir: DefaultPluginDir, SecretsDir: DefaultSecretsDir, Signatures: DefaultSignatures, Actions: DefaultActions, Sync: DefaultSync, SyncInterval: DefaultSyncInterval}
	if src == nil {
		return k
	}
	p := newParser(src, src)
	if p.files(); p.diags.HasErrors() {
		return k // of a file that is not HCL nothing is evaluated
	}
	p.constants()
	p.blocks()
	if s := p.first("kelpie"); s == nil || s.broken {
		return k
	}
	p.kelpie()
	return p.config.Kelpie
}
