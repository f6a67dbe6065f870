package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/driftline/driftline"
)

// trainingSecret is what the job of one attempt at a run is told, and nobody else. The token of its lease says
// whose turn it is, and everybody may read it; this says that it is the job that speaks. It is
// computed anew when it is needed, so that nothing keeps it: neither the ledger nor a log.
func (e *Engine) trainingSecret(id driftline.TrainingID, token uint64) (string, error) {
	key, err := e.seed("training")
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "training run %s, token %d", id, token)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// AuthenticateTraining is Unauthenticated unless the secret is that of the job which executes, or executed, the
// run under the token.
func (e *Engine) AuthenticateTraining(id driftline.TrainingID, token uint64, secret string) error {
	if _, err := e.Training(id); err != nil {
		return err
	}
	want, err := e.trainingSecret(id, token)
	if err != nil {
		return err
	}
	if hmac.Equal([]byte(want), []byte(secret)) {
		return nil
	}
	return driftline.Errorf(driftline.Unauthenticated, "the secret is not that of the job of %s under token %d", id, token).WithRef(driftline.TrainingRef(id)).
		WithHint("send DRIFTLINE_TRAINING_SECRET of the job's environment as secret")
}
