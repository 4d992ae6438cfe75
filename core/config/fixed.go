package config

import "github.com/hashicorp/hcl/v2"

// Fixed complains about what a Kelpie that runs by another configuration can't take
// over from this one: what its data folder was opened with.
func (c *Config) Fixed(running *Config) hcl.Diagnostics {
	var diags hcl.Diagnostics
	was, is := running.Kelpie, c.Kelpie
	at := func(path ...string) hcl.Range {
		if c.kelpie == nil {
			return hcl.Range{}
		}
		place, _ := locate(c.kelpie, path)
		return place
	}
	refuse := func(differs bool, what string, path ...string) {
		if !differs {
			return
		}
		d := complaint(at(path...), "Not changed while Kelpie runs", "The running Kelpie has opened its data folder with another %s. Stop it and start it again to change this; to apply the rest now, write what it was.", what)
		if d.Subject.Filename == "" {
			d.Subject = nil
		}
		diags = append(diags, d)
	}
	refuse(was.DataDir != is.DataDir, "data_dir", "data_dir")
	refuse(was.Sync != is.Sync, "sync", "sync")
	refuse(was.Sync == is.Sync && was.SyncInterval != is.SyncInterval, "sync_interval", "sync_interval")
	refuse(was.Reserve != is.Reserve, "reserve", "reserve")
	refuse(was.Keep != is.Keep, "keep", "keep")
	refuse(was.EventsBytes != is.EventsBytes, "size of the stream \"events\"", "stream", "events", "size")
	refuse(was.InputsBytes != is.InputsBytes, "size of the stream \"inputs\"", "stream", "inputs", "size")
	refuse(was.RejectedBytes != is.RejectedBytes, "size of the stream \"rejected\"", "stream", "rejected", "size")
	refuse(was.RejectedQuota != is.RejectedQuota, "quota per source of the stream \"rejected\"", "stream", "rejected", "per_source")
	return diags
}
