// Package executor starts the jobs that train models, wherever they run, so that a job which is
// started again after a crash is still one job.
//
//	job ─► command     a process group of this machine: limits, log, killed as a whole
//	     ─► webhook     a signed request; the job answers by calling back
//	     ─► Airflow 3   a DAG run with the run's ID
//	     ─► Kubernetes  a Job with the run's name
//
// [Executor.Run] hands a job over and waits until it has ended, as far as that can be seen from
// here. It is called again, with the same job, after a restart: the run's ID is the name that
// the other side knows the job by, and "it is there already" is success.
//
// Invariants:
//
//   - No error and no log holds a secret or the address of a webhook. Secrets come from the
//     server's settings, by name.
//   - A host is resolved once for each request, and the address that is connected to must be a
//     public one unless the settings allow others. Redirects are not followed.
//   - A command begins with an environment of its own: nothing of the server's but what a
//     program needs to start. When it ends, or is ended, nothing that it has started is left, in
//     whatever group; after a server was killed, nothing is left from when the next one begins.
//     Only a process that leaves both its group and its environment gets away.
package executor
