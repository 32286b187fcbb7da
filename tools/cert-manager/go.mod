// Only the CRDs among the files of this module are used; nothing of it is compiled.
module cluster-api-provider-kind/tools/cert-manager

go 1.26.0

require github.com/cert-manager/cert-manager v1.21.2
