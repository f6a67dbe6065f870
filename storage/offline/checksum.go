package offline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
)

// Metadata files are named by Iceberg, not by their hash, so their checksums
// stand beside them, in the form that Hadoop's local file system writes and, when
// a Hadoop-based engine opens the table, checks as well. The file .NAME.crc is
//
//	| "crc" 0 | 512, 4 bytes | CRC-32 of bytes 0–511 | CRC-32 of bytes 512–1023 | … |
//
// with numbers big-endian and the IEEE polynomial.
const bytesPerChecksum = 512

var checksumHeader = binary.BigEndian.AppendUint32([]byte("crc\x00"), bytesPerChecksum)

var errChecksum = errors.New("content does not match its checksums")

func checksumPath(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".crc")
}

func checksums(content []byte) []byte {
	sums := bytes.Clone(checksumHeader)
	for len(content) > 0 {
		n := min(len(content), bytesPerChecksum)
		sums = binary.BigEndian.AppendUint32(sums, crc32.ChecksumIEEE(content[:n]))
		content = content[n:]
	}
	return sums
}

func compareChecksums(content, sums []byte) error {
	if !bytes.Equal(checksums(content), sums) {
		return errChecksum
	}
	return nil
}
