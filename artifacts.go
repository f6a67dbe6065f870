package driftline

import "time"

// ArtifactCollection is what a collection of artifacts removed.
type ArtifactCollection struct {
	Contents int   `json:"contents"` // that nobody needed
	Bytes    int64 `json:"bytes"`
	Uploads  int   `json:"uploads"` // that nobody went on with
}

// UploadSpec begins an upload in parts: of what, and under which name.
type UploadSpec struct {
	Owner  Ref    `json:"owner"` // a run, or a logged model
	Path   string `json:"path"`
	SHA256 string `json:"sha256,omitempty"` // of the whole, if it is known; the upload is then refused at its end if it is another
}

// Upload is an upload in parts. It can be gone on with after a broken connection, a
// restart of the client, and one of the server: the parts that are listed are there.
type Upload struct {
	ID string `json:"id"`
	UploadSpec
	Created  time.Time    `json:"created"`
	Parts    []UploadPart `json:"parts"`              // by number
	Artifact *Artifact    `json:"artifact,omitempty"` // set when it is complete
}

// UploadPart is one part of an upload. Sending a number again replaces its part.
type UploadPart struct {
	Number int    `json:"number"` // from 1; parts are put together in this order, and numbers may be left out
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}
