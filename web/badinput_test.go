package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The inputs by which trackers and registries were broken, with the very spellings, sent
// over a real connection as they are: no client that would clean them up is in between.
// Each must be refused in the caller's own shape, without a status that a client repeats,
// and do nothing: no file read or written elsewhere, nothing fetched, no line written.
//
// {exp}, {run}, {model} and {m} stand for what the test made, {trap} for an address that
// nobody may connect to. Names begin with the advisories that the input is of.
var badInputs = []struct {
	name   string
	method string
	target string
	body   string
	header string // in place of the usual ones; "Name: value" by line
	code   string // that MLflow's clients get; "" for our own API
}{
	{name: "CVE-2023-1176 CVE-2023-1177 source is an absolute path", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "/etc/passwd"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-1177 file URI", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "file:///etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-1177 browser route", method: "GET", target: "/model-versions/get-artifact?name={model}&version=1&path=passwd", code: ""},
	{name: "CVE-2023-2356 two slashes", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "//etc/passwd"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-2780 file: without slashes", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "file:/etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-2780 four slashes", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "file:////etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-2780 mixed case", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "FiLe:///etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-2780 relative", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "./../../etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-30172 get-artifact", method: "GET", target: "/get-artifact?path=../../etc/passwd&run_uuid={run}"},
	{name: "CVE-2023-30172 ajax", method: "GET", target: "/ajax-api/2.0/mlflow/get-artifact?path=../../etc/passwd&run_uuid={run}", code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2023-3765 drive", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "C:\\windows\\system32"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-3765 share", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "\\\\host\\share"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-43472 JSON as text/plain", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted"}`, header: "Content-Type: text/plain", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-43472 JSON as a form", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted"}`, header: "Content-Type: application/x-www-form-urlencoded", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-43472 no type", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted"}`, header: "X: y", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-43472 own API", method: "POST", target: "/api/v1/models", body: `{"name": "planted"}`, header: "Content-Type: text/plain"},
	{name: "CVE-2023-6014 users", method: "POST", target: "/api/2.0/mlflow/users/create", body: `{"username": "x", "password": "password1234"}`, code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2023-6015 put above", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts/../../planted", body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6015 put above the run", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/../../../../planted", body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6015 encoded", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/..%2f..%2fplanted", body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6018 http source", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "http://{trap}/"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6568 header in the answer", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: "x", header: "Content-Type: <script>alert(1)</script>", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6753 drive and up", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/C:..%5cplanted", body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6753 drive", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/C:/planted", body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6831 delete above", method: "DELETE", target: "/api/2.0/mlflow-artifacts/artifacts/%2e%2e%2f%2e%2e%2f{run}", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6831 delete everything", method: "DELETE", target: "/api/2.0/mlflow-artifacts/artifacts/", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6831 delete an experiment", method: "DELETE", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6909 backslash", method: "GET", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/%5c..%5c..%5cetc%5cpasswd", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6909 query in the source", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "s3://b/x?y=/../../etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6940 command in the source", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "s3://b/$(touch planted);ls"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6974 metadata address", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "http://169.254.169.254/latest/meta-data"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6975 ftp source", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "ftp://{trap}/x"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6976 sftp source", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "sftp://{trap}/x"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2023-6977 proc", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "//proc/self/root/etc/passwd"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-1483 fragment in an artifact location", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted", "artifact_location": "http:///#/../../../etc/"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-1558 question mark", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "file:///x?/../../etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-1560 delete, encoded twice", method: "DELETE", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/%252e%252e%252f%252e%252e%252f", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-1560 encoded three times", method: "DELETE", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/%25252e%25252e%25252fx", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-1593 path parameters", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted", "artifact_location": "http:///;/../../../etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-1593 in a path", method: "GET", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/;/../../../etc/passwd", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-1594 fragment", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted", "artifact_location": "file:///tmp#/../../etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-2928 fragment in a source", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "s3://b/x#/../../etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-3848 fragment in a path", method: "GET", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/%23/..%2f..%2fetc/passwd", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-3099 encoded name", method: "POST", target: "/api/2.0/mlflow/registered-models/create", body: `{"name": "a%2Fb"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-3099 slash in a name", method: "POST", target: "/api/2.0/mlflow/registered-models/create", body: `{"name": "a/b"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-3573 no scheme", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "etc/passwd"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-3573 file: and a relative path", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "file:../../etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-6838 experiment name of megabytes", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "` + strings.Repeat("x", 900_000) + `"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-6838 model name of megabytes", method: "POST", target: "/api/2.0/mlflow/registered-models/create", body: `{"name": "` + strings.Repeat("x", 900_000) + `"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-6838 artifact name of kilobytes", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/" + strings.Repeat("x", 3000), body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-8859 dbfs", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "dbfs:/a%3f/../../../etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2024-8859 dbfs, encoded", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "dbfs:/a%3f%2f..%2f..%2fetc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2025-0453 GraphQL", method: "POST", target: "/graphql", body: `[` + strings.Repeat(`{"query": "{a}"},`, 1000) + `{}]`},
	{name: "CVE-2025-1473 signup", method: "POST", target: "/signup", body: `username=x&password=`, header: "Content-Type: application/x-www-form-urlencoded"},
	{name: "CVE-2025-1473 foreign origin", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted"}`, header: "Content-Type: application/json\nOrigin: http://evil.example\nSec-Fetch-Site: cross-site", code: "PERMISSION_DENIED"},
	{name: "CVE-2025-11201 meta.yaml by a name", method: "POST", target: "/api/2.0/mlflow/registered-models/create", body: `{"name": "../../0/meta.yaml"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2025-11201 meta.yaml by a rename", method: "POST", target: "/api/2.0/mlflow/registered-models/rename", body: `{"name": "{model}", "new_name": "..\\..\\meta.yaml"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2025-14279 foreign host", method: "GET", target: "/api/2.0/mlflow/experiments/search", header: "Host: evil.example", code: "PERMISSION_DENIED"},
	{name: "CVE-2025-14279 own API", method: "GET", target: "/api/v1/models", header: "Host: evil.example:8816"},
	{name: "CVE-2025-52967 gateway proxy", method: "POST", target: "/ajax-api/2.0/mlflow/gateway-proxy", body: `{"gateway_path": "http://{trap}/"}`, code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2026-0545 jobs", method: "POST", target: "/ajax-api/3.0/jobs/", body: `{}`, code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2026-2652 traces", method: "POST", target: "/v1/traces", body: "x", header: "Content-Type: application/x-protobuf"},
	{name: "CVE-2026-2393 webhook", method: "POST", target: "/api/2.0/mlflow/webhooks", body: `{"name": "x", "url": "http://{trap}/"}`, code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2026-2614 local source with the tag of a prompt", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "file:///etc", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2026-2651 upload in parts, above", method: "POST", target: "/api/2.0/mlflow-artifacts/mpu/create/{exp}/{run}/artifacts/..%2f..", body: `{"path": "planted", "num_parts": 1}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2026-2651 upload in parts, by the file's name", method: "POST", target: "/api/2.0/mlflow-artifacts/mpu/create/{exp}/{run}/artifacts", body: `{"path": "/tmp/.."}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "CVE-2026-2651 completing another's upload", method: "POST", target: "/api/2.0/mlflow-artifacts/mpu/complete/{exp}/{run}/artifacts", body: `{"path": "x", "upload_id": "../../x", "parts": [{"part_number": 1}]}`, code: "RESOURCE_DOES_NOT_EXIST"},
	{name: "CVE-2026-2651 aborting another's upload", method: "POST", target: "/api/2.0/mlflow-artifacts/mpu/abort/{exp}/{run}/artifacts", body: `{"path": "x", "upload_id": "00000000000000000000000000000000"}`, code: "RESOURCE_DOES_NOT_EXIST"},
	{name: "CVE-2026-33866 logged model by ajax", method: "GET", target: "/ajax-api/2.0/mlflow/logged-models/{m}/artifacts/files?artifact_file_path=../../../etc/passwd", code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2026-33866 logged model by proxy", method: "GET", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/models/{m}/artifacts/..%2f..%2f..%2fetc%2fpasswd", code: "INVALID_PARAMETER_VALUE"},
	{name: "GHSA-3p64 inputs of a run that does not exist", method: "POST", target: "/api/2.0/mlflow/runs/log-inputs", body: `{"run_id": "0123456789abcdef", "datasets": [{"dataset": {"name": "d", "digest": "x", "source_type": "http", "source": "http://{trap}/"}}]}`, code: "RESOURCE_DOES_NOT_EXIST"},
	{name: "GHSA-h7x2 gateway", method: "POST", target: "/api/3.0/mlflow/gateway/endpoints/create", body: `{"api_base": "http://{trap}/"}`, code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2023-4033 command in a URI", method: "GET", target: "/api/v1/resolve?uri=models:/$(touch%20planted)/1"},
	{name: "CVE-2023-4033 command behind a URI", method: "GET", target: "/api/v1/resolve?uri=models:/{model}/1%3Btouch%20planted"},
	{name: "CVE-2024-4263 file of a run of another experiment", method: "DELETE", target: "/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/secret", code: "RESOURCE_DOES_NOT_EXIST"},
	{name: "CVE-2025-1474 account without a password", method: "POST", target: "/api/2.0/mlflow/users/create", body: `{"username": "x", "password": ""}`, code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2025-11200 weak password", method: "PATCH", target: "/api/2.0/mlflow/users/update-password", body: `{"username": "x", "password": "1"}`, code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2026-2635 standard account", method: "GET", target: "/api/2.0/mlflow/users/get?username=admin", header: "Authorization: Basic YWRtaW46cGFzc3dvcmQxMjM0", code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2025-15381 traces", method: "GET", target: "/api/3.0/mlflow/traces/x", code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2025-15381 assessments", method: "POST", target: "/api/3.0/mlflow/traces/x/assessments", body: `{}`, code: "ENDPOINT_NOT_FOUND"},
	{name: "CVE-2026-0596 command in how a model is served", method: "PUT", target: "/api/v1/models/{model}/versions/1/server", body: `{"url": "http://127.0.0.1:1/", "protocol": "mlserver; touch planted"}`},
	{name: "CVE-2026-0596 command in where a model is served", method: "PUT", target: "/api/v1/models/{model}/versions/1/server", body: `{"url": "$(touch planted)", "protocol": "oip"}`},
	{name: "#25676 GraphQL", method: "POST", target: "/graphql", body: `{"query": "mutation {mlflowDeleteRun {apiError {code}}}"}`},
	{name: "#19381 SQL in a filter", method: "POST", target: "/api/2.0/mlflow/runs/search", body: `{"experiment_ids": ["{exp}"], "filter": "params.x = 'a'; DROP TABLE runs"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "#19381 SQL in an order", method: "POST", target: "/api/2.0/mlflow/runs/search", body: `{"experiment_ids": ["{exp}"], "order_by": ["metrics.x DESC; DROP TABLE runs"]}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "#19381 SQL in a filter of models", method: "GET", target: "/api/2.0/mlflow/registered-models/search?filter=name+%3D+%27a%27+UNION+SELECT+1", code: "INVALID_PARAMETER_VALUE"},

	{name: "NUL in a path", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/a%00b", body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "NUL and an ending", method: "GET", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/etc/passwd%00.jpg", code: "INVALID_PARAMETER_VALUE"},
	{name: "tab between percent signs", method: "GET", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/%252%250952e%252%250952e/x", code: "INVALID_PARAMETER_VALUE"},
	{name: "newline in a path", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/a%0d%0ab", body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "bytes that are not UTF-8 in a path", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts/{exp}/{run}/artifacts/%ff%fe", body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "bytes that are not UTF-8 in a body", method: "POST", target: "/api/2.0/mlflow/registered-models/create", body: "{\"name\": \"\xff\xfe\"}", code: "INVALID_PARAMETER_VALUE"},
	{name: "two slashes", method: "PUT", target: "/api/2.0/mlflow-artifacts/artifacts//etc/planted", body: "x", code: "INVALID_PARAMETER_VALUE"},
	{name: "listing above", method: "GET", target: "/api/2.0/mlflow-artifacts/artifacts?path=../../..", code: "INVALID_PARAMETER_VALUE"},
	{name: "listing another place", method: "GET", target: "/api/2.0/mlflow-artifacts/artifacts?path=/etc", code: "INVALID_PARAMETER_VALUE"},
	{name: "listing a run above", method: "GET", target: "/api/2.0/mlflow/artifacts/list?run_id={run}&path=..%2f..", code: "INVALID_PARAMETER_VALUE"},
	{name: "run of another experiment", method: "GET", target: "/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/secret", code: "RESOURCE_DOES_NOT_EXIST"},
	{name: "run id with a path", method: "GET", target: "/api/2.0/mlflow/runs/get?run_id=../../etc", code: "RESOURCE_DOES_NOT_EXIST"},
	{name: "logged model id with a path", method: "GET", target: "/api/2.0/mlflow/logged-models/..%2f..%2fetc", code: "INVALID_PARAMETER_VALUE"},
	{name: "name with NUL", method: "POST", target: "/api/2.0/mlflow/registered-models/create", body: `{"name": "a\u0000b"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "name with an invisible character", method: "POST", target: "/api/2.0/mlflow/registered-models/create", body: `{"name": "mod\u200bel"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "name with a trailing space, encoded", method: "POST", target: "/api/2.0/mlflow/registered-models/create", body: `{"name": "rm%20"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "models: of a missing model", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "models:/missing/1"}`, code: "RESOURCE_DOES_NOT_EXIST"},
	{name: "gopher", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "gopher://{trap}/"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "another server's proxy", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "mlflow-artifacts://{trap}/0/{run}/artifacts/model"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "proxy, above", method: "POST", target: "/api/2.0/mlflow/model-versions/create", body: `{"name": "{model}", "source": "mlflow-artifacts:/../../etc"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "artifact location by proxy, above", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted", "artifact_location": "mlflow-artifacts:/../.."}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "artifact location in S3, above", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted", "artifact_location": "s3://b/../../x"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "artifact location, encoded", method: "POST", target: "/api/2.0/mlflow/experiments/create", body: `{"name": "planted", "artifact_location": "http://h/%2e%2e"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "version that is no number", method: "GET", target: "/api/2.0/mlflow/model-versions/get?name={model}&version=..%2f1", code: "INVALID_PARAMETER_VALUE"},
	{name: "version of too many digits", method: "GET", target: "/api/2.0/mlflow/model-versions/get?name={model}&version=99999999999999999999999", code: "INVALID_PARAMETER_VALUE"},
	{name: "stage that is none", method: "POST", target: "/api/2.0/mlflow/model-versions/transition-stage", body: `{"name": "{model}", "version": "1", "stage": "<script>", "archive_existing_versions": false}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "alias that is a version", method: "POST", target: "/api/2.0/mlflow/registered-models/alias", body: `{"name": "{model}", "alias": "v7", "version": "1"}`, code: "INVALID_PARAMETER_VALUE"},
	{name: "own API, above", method: "PUT", target: "/api/v1/runs/{run}/artifacts/../../../planted", body: "x"},
	{name: "own API, encoded", method: "PUT", target: "/api/v1/runs/{run}/artifacts/..%2f..%2fplanted", body: "x"},
	{name: "own API, encoded twice", method: "GET", target: "/api/v1/runs/{run}/artifacts/%252e%252e%252fetc%252fpasswd"},
	{name: "own API, files of a version", method: "GET", target: "/api/v1/models/{model}/versions/1/artifacts/..%2f..%2fetc%2fpasswd"},
	{name: "own API, a source", method: "POST", target: "/api/v1/models/{model}/versions", body: `{"source": "http://{trap}/"}`},
	{name: "own API, a URI", method: "GET", target: "/api/v1/resolve?uri=file:///etc/passwd"},
	{name: "own API, an upload", method: "POST", target: "/api/v1/uploads", body: `{"owner": "run/{run}", "path": "../planted"}`},
	{name: "own API, a part of another place", method: "PUT", target: "/api/v1/uploads/..%2f..%2fx/parts/1", body: "x"},
}

// badWorld is a server that listens, beside a file that is not its own, and an address
// that nobody may connect to.
type badWorld struct {
	*site
	address string
	replace *strings.Replacer
	trapped *atomic.Int64
	outside string
}

func newBadWorld(t *testing.T) *badWorld {
	t.Helper()
	s := newSite(t)
	w := &badWorld{site: s, trapped: &atomic.Int64{}, outside: filepath.Dir(s.Dir)}
	trap := listen(t)
	go func() {
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			w.trapped.Add(1)
			_ = c.Close()
		}
	}()
	serving := listen(t)
	w.address = serving.Addr().String()
	done := make(chan error, 1)
	go func() { done <- s.server.Serve(serving) }()
	t.Cleanup(func() {
		if err := s.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	w.prepare(t, trap.Addr().String())
	return w
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// prepare makes an experiment, a run with files, a logged model, and a registered one.
func (w *badWorld) prepare(t *testing.T, trap string) {
	t.Helper()
	field := func(answer string, path ...string) string {
		var value any
		if err := json.Unmarshal([]byte(answer), &value); err != nil {
			t.Fatal(err)
		}
		for _, key := range path {
			value = value.(map[string]any)[key]
		}
		return value.(string)
	}
	const at = "/api/2.0/mlflow/"
	exp := field(w.mustAsk(t, "POST", at+"experiments/create", `{"name": "bad"}`), "experiment_id")
	run := field(w.mustAsk(t, "POST", at+"runs/create", `{"experiment_id": "`+exp+`"}`), "run", "info", "run_id")
	model := field(w.mustAsk(t, "POST", at+"logged-models", `{"experiment_id": "`+exp+`"}`), "model", "info", "model_id")
	w.mustAsk(t, "PUT", "/api/2.0/mlflow-artifacts/artifacts/"+exp+"/"+run+"/artifacts/secret", "secret of the run")
	w.mustAsk(t, "PUT", "/api/2.0/mlflow-artifacts/artifacts/"+exp+"/models/"+model+"/artifacts/MLmodel", "flavors")
	w.mustAsk(t, "POST", at+"registered-models/create", `{"name": "late"}`)
	w.mustAsk(t, "POST", at+"model-versions/create", `{"name": "late", "source": "models:/`+model+`"}`)
	w.replace = strings.NewReplacer("{exp}", exp, "{run}", run, "{model}", "late", "{m}", model, "{trap}", trap)
}

// send writes a request as it is, byte by byte, and reads the answer.
func (w *badWorld) send(t *testing.T, method, target, body, header string) (*http.Response, string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", w.address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if header == "" {
		header = "Content-Type: application/json"
	}
	if !strings.Contains(header, "Host: ") {
		header += "\nHost: " + w.address
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\n%s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		method, target, strings.ReplaceAll(header, "\n", "\r\n"), len(body), body)
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

// files lists everything beside and in the data folder but the database's own files.
func (w *badWorld) files(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(w.outside, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && e.Name() == "kv" {
			return fs.SkipDir
		}
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestBadInputs(t *testing.T) {
	w := newBadWorld(t)
	if err := os.WriteFile(filepath.Join(w.outside, "passwd"), []byte("canary of the outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, files := w.Engine.Registry().Newest(), w.files(t)
	for _, c := range badInputs {
		t.Run(c.name, func(t *testing.T) {
			answer, text := w.send(t, c.method, w.replace.Replace(c.target), w.replace.Replace(c.body), c.header)
			if answer.StatusCode < 400 || repeated[answer.StatusCode] {
				t.Errorf("status %d: %.300s", answer.StatusCode, text)
			}
			if kind := answer.Header.Get("Content-Type"); kind != "application/json" {
				t.Errorf("content type is %q", kind)
			}
			var failure struct {
				MLflow string `json:"error_code"`
				Own    string `json:"code"`
			}
			if err := json.Unmarshal([]byte(text), &failure); err != nil || failure.MLflow != c.code || (c.code == "") != (failure.Own != "") {
				t.Errorf("answer is %.300s, %v, want code %q", text, err, c.code)
			}
			for _, leak := range []string{"root:x:", "canary", "secret of", w.Dir, "goroutine"} {
				if strings.Contains(text, leak) {
					t.Errorf("the answer has %q: %.300s", leak, text)
				}
			}
			if after := w.Engine.Registry().Newest(); after != before {
				t.Errorf("it wrote a line of the ledger")
				before = after
			}
		})
	}
	if after := w.files(t); !slices.Equal(files, after) {
		t.Errorf("files were\n%v\nare\n%v", files, after)
	}
	if n := w.trapped.Load(); n > 0 {
		t.Errorf("the server connected to a client's address %d times", n)
	}
}

// What a client says of data is kept as it is, and never fetched.
func TestNothingIsFetchedThatAClientNames(t *testing.T) {
	w := newBadWorld(t)
	for target, body := range map[string]string{
		"/api/2.0/mlflow/runs/log-inputs":       `{"run_id": "{run}", "datasets": [{"dataset": {"name": "d", "digest": "x", "source_type": "http", "source": "{\"url\": \"http://{trap}/../../x\"}"}}]}`,
		"/api/2.0/mlflow/model-versions/create": `{"name": "{model}", "source": "s3://{trap}/x"}`,
		"/api/2.0/mlflow/experiments/create":    `{"name": "elsewhere", "artifact_location": "http://{trap}/x"}`,
		"/api/2.0/mlflow/runs/set-tag":          `{"run_id": "{run}", "key": "mlflow.note.content", "value": "![](http://{trap}/x.png)"}`,
	} {
		answer, text := w.send(t, "POST", target, w.replace.Replace(body), "")
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", target, answer.StatusCode, text)
		}
	}
	for _, target := range []string{"/runs", w.replace.Replace("/runs/{run}"), "/models", "/models/late", w.replace.Replace("/api/2.0/mlflow/runs/get?run_id={run}")} {
		if answer, text := w.send(t, "GET", target, "", "Accept: text/html"); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", target, answer.StatusCode, text)
		}
	}
	if n := w.trapped.Load(); n > 0 {
		t.Errorf("the server connected to a client's address %d times", n)
	}
}

// Whatever a client calls a thing, in a page it is text: CVE-2023-6709 (a template), CVE-2024-27132 and
// CVE-2024-27133 (a script in a card and in a table).
func TestNothingThatAClientSaysIsRunInAPage(t *testing.T) {
	w := newBadWorld(t)
	const hostile = `<img src=x onerror=canary()>{{1234*1234}}${1234*1234}`
	said, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"/api/2.0/mlflow/runs/set-tag", `{"run_id": "{run}", "key": "mlflow.note.content", "value": SAID}`},
		{"/api/2.0/mlflow/runs/log-parameter", `{"run_id": "{run}", "key": "p", "value": SAID}`},
		{"/api/2.0/mlflow/runs/update", `{"run_id": "{run}", "run_name": SAID}`},
		{"/api/2.0/mlflow/registered-models/set-tag", `{"name": "{model}", "key": "note", "value": SAID}`},
		{"/api/2.0/mlflow/model-versions/set-tag", `{"name": "{model}", "version": "1", "key": "note", "value": SAID}`},
	} {
		w.mustAsk(t, "POST", c[0], strings.ReplaceAll(w.replace.Replace(c[1]), "SAID", string(said)))
	}
	for _, c := range [][2]string{
		{"/api/2.0/mlflow/registered-models/update", `{"name": "{model}", "description": SAID}`},
		{"/api/2.0/mlflow/model-versions/update", `{"name": "{model}", "version": "1", "description": SAID}`},
	} {
		w.mustAsk(t, "PATCH", c[0], strings.ReplaceAll(w.replace.Replace(c[1]), "SAID", string(said)))
	}
	shown := 0
	for _, target := range []string{"/runs", "/runs/{run}", "/runs/compare?run={run}", "/models", "/models/late", "/models/late/versions/1", "/lineage?ref=model/late@1", "/follow?to=" + url.QueryEscape(hostile)} {
		answer, text := w.send(t, "GET", w.replace.Replace(target), "", "Accept: text/html")
		if strings.Contains(text, "<img src=x") || strings.Contains(text, "1522756") {
			t.Errorf("%s runs what it was told", target)
		}
		if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src") || strings.Contains(policy, "script-src 'unsafe-inline'") {
			t.Errorf("%s: the policy is %q", target, policy)
		}
		shown += strings.Count(text, "&lt;img src=x")
	}
	if shown < 4 {
		t.Errorf("the pages show it %d times: the test looks where it is not", shown)
	}
	answer, _ := w.send(t, "GET", "/api/v1/models/late/versions/1/card.md", "", "")
	if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/markdown") || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the card is %q", kind)
	}
}

// Nobody else on the machine reads or changes a server's files, whatever the names of those it has not
// finished: CVE-2022-0736 and CVE-2024-27134.
func TestFilesAreTheirOwnersOnly(t *testing.T) {
	w := newBadWorld(t)
	w.mustAsk(t, "POST", "/api/v1/uploads", w.replace.Replace(`{"owner": "run/{run}", "path": "big"}`))
	entries, err := os.ReadDir(w.Dir)
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", e.Name(), info.Mode())
		}
	}
}

// knownHoles are the advisories and reports of trackers' and registries' holes that we know of.
const knownHoles = `
	CVE-2022-0736 CVE-2023-1176 CVE-2023-1177 CVE-2023-2356 CVE-2023-2780 CVE-2023-30172 CVE-2023-3765 CVE-2023-43472 CVE-2023-4033
	CVE-2023-6014 CVE-2023-6015 CVE-2023-6018 CVE-2023-6568 CVE-2023-6709 CVE-2023-6753 CVE-2023-6831 CVE-2023-6909 CVE-2023-6940
	CVE-2023-6974 CVE-2023-6975 CVE-2023-6976 CVE-2023-6977 CVE-2024-0520 CVE-2024-1483 CVE-2024-1558 CVE-2024-1560 CVE-2024-1593
	CVE-2024-1594 CVE-2024-2928 CVE-2024-3848 CVE-2024-3099 CVE-2024-3573 CVE-2024-4263 CVE-2024-6838 CVE-2024-8859 CVE-2024-27132
	CVE-2024-27133 CVE-2024-27134 CVE-2024-37052 CVE-2025-0453 CVE-2025-1473 CVE-2025-1474 CVE-2025-11200 CVE-2025-11201
	CVE-2025-14279 CVE-2025-15031 CVE-2025-15381 CVE-2025-52967 CVE-2026-0545 CVE-2026-2652 CVE-2026-0596 CVE-2026-2393
	CVE-2026-2614 CVE-2026-2635 CVE-2026-2651 CVE-2026-33866 GHSA-3p64 GHSA-h7x2 #25676 #18964 #19381`

// Each of them stands above or in the test that tries it: an advisory that is added to the list needs one.
func TestEveryKnownHoleIsTried(t *testing.T) {
	tried := ""
	for _, file := range []string{"badinput_test.go", "../engine/bundles_test.go", "../client/python/tests/test_hostile.py"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tried += strings.Replace(string(text), knownHoles, "", 1)
	}
	for _, hole := range strings.Fields(knownHoles) {
		if !strings.Contains(tried, hole) {
			t.Errorf("no test tries %s", hole)
		}
	}
}
