# What the cluster has to know, from the files beside this one: namespace, Role and RoleBinding, and with `nodes` Karpenter's
# NodePool. Instead of `kubectl apply`; needs a provider "kubernetes" for the cluster.

variable "nodes" {
  type    = bool
  default = false
}

locals {
  binding = [for text in split("\n---\n", file("${path.module}/binding.yaml")) : yamldecode(text)]
  role    = yamldecode(file("${path.module}/role.yaml"))
  pool    = split("\n---\n", replace(file("${path.module}/nodepool.yaml"), "CLUSTER", var.cluster))
}

resource "kubernetes_manifest" "namespace" {
  manifest = local.binding[0]
}

resource "kubernetes_manifest" "binding" {
  manifest   = local.binding[1]
  depends_on = [kubernetes_manifest.namespace]
}

resource "kubernetes_manifest" "role" {
  manifest = merge(local.role, {
    metadata = merge(local.role.metadata, { namespace = local.binding[0].metadata.name })
  })
  depends_on = [kubernetes_manifest.namespace]
}

resource "kubernetes_manifest" "nodes" {
  count    = var.nodes ? length(local.pool) : 0
  manifest = yamldecode(local.pool[count.index])
}
