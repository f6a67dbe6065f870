package registry

import (
	"strconv"

	"github.com/driftline/driftline"
	"github.com/driftline/driftline/storage/kv"
)

// VersionFiles are the files of a version under the names that they have in it.
func VersionFiles(version *driftline.ModelVersion) []driftline.Artifact { return versionFiles(version) }

const mostVersionFiles = 1_000_000

// CheckImport checks a version that comes from another server, before its files are stored.
func CheckImport(version *driftline.ModelVersion) error {
	if err := driftline.CheckModelName(version.Model); err != nil {
		return err
	}
	if err := checkComposed(version.Model); err != nil {
		return err
	}
	if err := checkModelNotes(version.Model, version.Description, version.Tags, version.By); err != nil {
		return err
	}
	files := versionFiles(version)
	if version.Status == driftline.ModelExternal || len(files) == 0 || len(files) > mostVersionFiles {
		return driftline.Errorf(driftline.Invalid, "model %q: the bundle has %d files", version.Model, len(files))
	}
	seen := map[string]bool{}
	for i := range files {
		if err := checkArtifact(&files[i]); err != nil {
			return err
		}
		if seen[files[i].Path] {
			return driftline.Errorf(driftline.Invalid, "model %q: the bundle has %q twice", version.Model, files[i].Path)
		}
		seen[files[i].Path] = true
	}
	return nil
}

// ImportModel registers a version that another server exported as the next version of its
// model here. Its files must be stored before. What it was made from is kept as it was said;
// its aliases, stage, approvals and model server are not: they are this server's to give. The batch is taken over.
func (r *Registry) ImportModel(batch *kv.Batch, version driftline.ModelVersion, from driftline.ModelImport) (*driftline.ModelVersion, error) {
	number := 0
	err := r.writeWith(batch, func(tx *Tx) error {
		if err := checkPerson(from.By); err != nil {
			return err
		}
		head := tx.r.head
		if head.models[version.Model] == nil {
			if err := head.freeModelName(version.Model); err != nil {
				return err
			}
		}
		if version.Run != "" {
			version.ExternalRun, version.Run = string(version.Run), ""
		}
		number = head.numbered[version.Model].last + 1
		version.Version, version.Created, version.By, version.Imported = number, tx.time, from.By, &from
		version.Stage, version.Aliases, version.Checks, version.Approvals, version.LoggedModel, version.Server = driftline.StageNone, nil, nil, nil, "", nil
		if len(version.Files) > 0 {
			tree, files := treeOf("", version.Files)
			tree.Path = version.Artifact.Path
			version.Artifact, version.Files = tree, files
		}
		_, err := tx.add(ModelRegistered, version.Ref(), nil, version)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.ModelVersion(version.Model, strconv.Itoa(number))
}
