package client

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/driftline/driftline"
)

// BeginUpload begins an upload in parts. What was sent of it outlives a broken connection
// and restarts of both sides; an upload that nobody goes on with ends after a day.
func (c *Client) BeginUpload(ctx context.Context, spec driftline.UploadSpec) (*driftline.Upload, error) {
	return ask[driftline.Upload](ctx, c, http.MethodPost, path("uploads"), spec)
}

// Upload returns an upload with the parts that are there.
func (c *Client) Upload(ctx context.Context, id string) (*driftline.Upload, error) {
	return get[driftline.Upload](ctx, c, path("uploads", id))
}

// PutPart sends a part of an upload, by its number from 1. It is durable when the answer comes.
func (c *Client) PutPart(ctx context.Context, id string, number int, content io.Reader) (*driftline.UploadPart, error) {
	response, err := c.send(ctx, http.MethodPut, path("uploads", id, "parts", strconv.Itoa(number)), "application/octet-stream", content)
	if err != nil {
		return nil, err
	}
	defer closeBody(response.Body)
	part := new(driftline.UploadPart)
	return part, decodeJSON(response.Body, part)
}

// CompleteUpload puts the parts together and logs the file. Parts, if there are any, are
// those that must be there: others are a Conflict. Completing again gives the same answer.
func (c *Client) CompleteUpload(ctx context.Context, id string, parts []driftline.UploadPart) (*driftline.Artifact, error) {
	body := struct {
		Parts []driftline.UploadPart `json:"parts"`
	}{parts}
	return ask[driftline.Artifact](ctx, c, http.MethodPost, path("uploads", id, "complete"), body)
}

// AbortUpload ends an upload without a trace.
func (c *Client) AbortUpload(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, path("uploads", id), nil, nil)
}
