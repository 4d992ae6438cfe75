package release

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// writeArchive writes an executable as the only file of an archive: of the same bytes
// the same archive, whenever, wherever and by whom.
func writeArchive(w io.Writer, name string, size int64, executable io.Reader) (File, error) {
	zipped := gzip.NewWriter(w)
	files := tar.NewWriter(zipped)
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o755,
		ModTime: time.Unix(0, 0).UTC(), Format: tar.FormatUSTAR,
	}
	if err := files.WriteHeader(header); err != nil {
		return File{}, err
	}
	sum := sha256.New()
	if _, err := io.Copy(files, io.TeeReader(executable, sum)); err != nil {
		return File{}, err
	}
	return File{Size: size, SHA256: hexSum(sum)}, errors.Join(files.Close(), zipped.Close())
}

// maxWrapping bounds what an archive may have beside its file: headers and padding.
const maxWrapping = 1 << 20

// unpack writes the only file of an archive, which must be the one that is expected. It
// unzips no more than that takes.
func unpack(w io.Writer, archive io.Reader, name string, want File) error {
	zipped, err := gzip.NewReader(archive)
	if err != nil {
		return errors.New("it is no archive")
	}
	files := tar.NewReader(io.LimitReader(zipped, want.Size+maxWrapping))
	header, err := files.Next()
	switch {
	case err != nil:
		return errors.New("it is no archive")
	case header.Typeflag != tar.TypeReg || header.Name != name:
		return fmt.Errorf("it holds %q, and may hold one regular file %q alone", header.Name, name)
	case header.Size != want.Size:
		return fmt.Errorf("%s in it has %d bytes, and the manifest says %d", name, header.Size, want.Size)
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, sum), files); err != nil {
		return err
	}
	switch extra, err := files.Next(); {
	case err == nil:
		return fmt.Errorf("it holds %q too, and may hold one regular file %q alone", extra.Name, name)
	case !errors.Is(err, io.EOF):
		return errors.New("it is damaged")
	case hexSum(sum) != want.SHA256:
		return fmt.Errorf("%s in it has the sha256 %s, and the manifest says %s", name, hexSum(sum), want.SHA256)
	}
	return nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
