package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

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

// trainingClaim is the value with which a job sets [TrainingTag]: the run, the token of its lease and its secret.
func trainingClaim(id driftline.TrainingID, token uint64, secret string) string {
	return fmt.Sprintf("%s:%d:%s", id, token, secret)
}

// provedTag lets a version, or a tracked run, say of a training run that it made it only if it is the run's present job
// that speaks. Of the claim the run's ID is kept, and nothing that another one could claim with.
func (e *Engine) provedTag(key, value string) (string, error) {
	if key != TrainingTag {
		return value, nil
	}
	rest, secret, proves := cutLast(value)
	name, number, _ := cutLast(rest)
	token, err := strconv.ParseUint(number, 10, 64)
	if !proves || err != nil {
		return "", driftline.Errorf(driftline.Unauthenticated, "the tag %s says that the job of a training run made it, without a proof", TrainingTag).
			WithHint("set it to DRIFTLINE_TRAINING_TAG of the job's environment")
	}
	id := driftline.TrainingID(name)
	if err := e.AuthenticateTraining(id, token, secret); err != nil {
		return "", err
	}
	run, err := e.Training(id)
	if err != nil {
		return "", err
	}
	if run.State != driftline.TrainingRunning || run.Lease == nil || run.Lease.Token != token {
		return "", driftline.Errorf(driftline.Conflict, "training run %s is %s, and not that of token %d any more", id, run.State, token).
			WithRef(driftline.TrainingRef(id)).WithHint("stop: another attempt has begun, or the run has ended")
	}
	return name, nil
}

// cutLast cuts around the last colon: names of models may have some.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}
