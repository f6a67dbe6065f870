// Package notify tells people and programs of alerts, and of what became of the trainings and
// rollouts of models, so that a message that was decided arrives at least once, and that
// where it goes is the operator's to say and nobody else's.
//
// The engine keeps notices in an outbox, written in the batch of the decision that they come
// from, and hands each to [Channels.Deliver] until that succeeds. A notice has one ID for all
// attempts. [Backoff] says when the next one is made, and [GiveUp] when there are no more.
//
//	type          what is sent
//	log           a line of the server's log; the channel "log" is always there
//	file          one JSON object a line, appended and fsynced
//	webhook       POST of the notice as JSON, signed (see [Sign])
//	slack         POST of {"text": …}, as Slack and those like it take
//	alertmanager  POST /api/v2/alerts, firing for a year, or ended
//	email         plain text over SMTP, with STARTTLS where the server offers it
//
// Invariants:
//
//   - A monitor or a policy names a channel; the channel's address and secrets are in the server's
//     settings only. No error and no log line holds a URL or a secret.
//   - A host is resolved once for each attempt, and what is checked is the address that is
//     connected to: unless the channel allows private addresses, it must be a public one.
//     Redirects are not followed, proxies not used, answers not read beyond 64 KiB.
//   - Text that comes from data cannot add headers, lines or markup to a message.
package notify
