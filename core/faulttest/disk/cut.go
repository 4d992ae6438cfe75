//go:build linux

package disk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
)

// Lost is what a power cut took.
type Lost struct {
	Pages, OfPages int // that were written and not synced
	Names, OfNames int // changes of folders likewise
	Torn           int // files whose last page that was kept is kept in part
}

func (l Lost) String() string {
	return fmt.Sprintf("%d of %d unsynced pages, %d of %d changes of names, %d torn", l.Pages, l.OfPages, l.Names, l.OfNames, l.Torn)
}

// cut leaves what is on the disk, and of what was under way what chance left.
func (d *Disk) cut(seed uint64) Lost {
	r := rand.New(rand.NewPCG(seed, 1))
	var l Lost
	l.OfNames = len(d.ops)
	// A journal is cut off at one place; a folder of its own, at one in each.
	at := map[*inode]int{}
	count := map[*inode]int{}
	for _, c := range d.ops {
		count[d.journal(c)]++
	}
	for _, c := range d.ops { // in their order, so that a seed repeats
		if j := d.journal(c); count[j] > 0 {
			at[j] = r.IntN(count[j] + 1)
			count[j] = -1
		}
	}
	seen := map[*inode]int{}
	for _, c := range d.ops {
		j := d.journal(c)
		if seen[j]++; seen[j] <= at[j] {
			c.apply(c.folder.durable)
		} else {
			l.Names++
		}
	}
	d.ops = nil
	d.used, d.inodes = 0, 0
	// How much of the page cache was on its way differs from cut to cut.
	share := []float64{0, 0.1, 0.5, 0.9, 1}[r.IntN(5)]
	d.surviving(d.root, r, share, &l, map[*inode]bool{})
	return l
}

// journal is what keeps the order of a change: the disk's own, or its folder.
func (d *Disk) journal(c change) *inode {
	if d.settings.Strict {
		return c.folder
	}
	return nil
}

func (d *Disk) surviving(i *inode, r *rand.Rand, share float64, l *Lost, seen map[*inode]bool) {
	if seen[i] {
		return
	}
	seen[i] = true
	d.inodes++
	if i.entries != nil {
		i.entries = maps.Clone(i.durable)
		for _, name := range slices.Sorted(maps.Keys(i.entries)) {
			child := i.entries[name]
			if child.mode&syscall.S_IFMT == syscall.S_IFSOCK {
				// Nobody listens any more; the name may be there all the same.
				continue
			}
			d.surviving(child, r, share, l, seen)
		}
		return
	}
	if i.dirty == nil {
		return
	}
	kept := map[int64]bool{}
	end := int64(len(i.disk))
	for _, p := range slices.Sorted(maps.Keys(i.dirty)) {
		l.OfPages++
		if r.Float64() >= share {
			l.Pages++
			continue
		}
		kept[p] = true
		end = max(end, min((p+1)*page, int64(len(i.data))))
	}
	if len(i.data) < len(i.disk) && r.Float64() < share {
		end = int64(len(i.data)) // it was cut short, and that was kept
	}
	before := slices.Clone(i.disk)
	i.disk = settle(i.disk, i.data, kept, int(end))
	if n := len(kept); n > 0 && r.IntN(2) == 0 {
		// A page is several sectors, of which the last may be missing.
		all := slices.Sorted(maps.Keys(kept))
		p := all[r.IntN(n)]
		from := min(p*page+int64(512*(1+r.IntN(7))), end)
		to := min((p+1)*page, end)
		clear(i.disk[from:to])
		copy(i.disk[from:to], before[min(from, int64(len(before))):])
		if from < to {
			l.Torn++
		}
	}
	clear(i.dirty)
	i.data = slices.Clone(i.disk)
	d.used += pages(len(i.data))
}
