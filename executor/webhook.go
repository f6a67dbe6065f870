package executor

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/internal/outbound"
)

// hookBody is what a webhook is sent. It is the same for each attempt at one run's start.
type hookBody struct {
	Run         driftline.TrainingID `json:"run"`
	Model       driftline.ModelName  `json:"model"`
	Token       uint64               `json:"token"`
	Environment map[string]string    `json:"environment"`
	Parameters  map[string]string    `json:"parameters,omitempty"`
}

// webhook posts a signed request. The receiver knows the run by its Idempotency-Key, and calls
// back when it has ended.
func (x *Executor) webhook(ctx context.Context, job *Job, told map[string]string) (Outcome, string, error) {
	hook := job.Spec.Webhook
	secret, err := x.secret(hook.Secret)
	if err != nil {
		return Failed, "", err
	}
	got, err := x.send(ctx, request{
		method: http.MethodPost, url: hook.URL, key: string(job.Run), what: "the webhook",
		body: hookBody{job.Run, job.Model, job.Token, told, job.Spec.Parameters},
		header: func(body []byte) http.Header {
			h := http.Header{"Idempotency-Key": {string(job.Run)}}
			if secret != "" {
				h.Set(outbound.SignatureHeader, outbound.Sign([]byte(secret), time.Now(), body))
			}
			return h
		},
	})
	if err != nil {
		return Failed, "", err
	}
	// A receiver that knows the key from before may say so.
	if got.status/100 == 2 || got.status == http.StatusConflict {
		return Handed, "", nil
	}
	return Failed, "", driftline.Errorf(driftline.FailedPrecondition, "the webhook answers %d: %s", got.status, strings.TrimSpace(got.said("error")))
}
