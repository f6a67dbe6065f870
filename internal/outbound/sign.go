package outbound

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// SignatureHeader carries [Sign]'s signature of a webhook's body.
const SignatureHeader = "Driftline-Signature"

// Sign returns "t=<unix seconds>,v1=<hex>", where the hex digits are the HMAC-SHA256 under
// the secret of the seconds, a full stop and the body. A receiver computes the same, and
// refuses a time that is long ago.
func Sign(secret []byte, now time.Time, body []byte) string {
	seconds := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
