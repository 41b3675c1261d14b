# What AWS has to know: a role that this repository's workflows assume by OIDC, with the rights to find the cluster
# and to push, and its entry into the cluster. aws.yaml is the same for CloudFormation; cluster.tf does the rest.

variable "cluster" { type = string }
variable "repository" { type = string } # as in GitHub: owner/name
variable "ecr_repository_arn" { type = string }

data "aws_eks_cluster" "this" { name = var.cluster }

data "aws_iam_openid_connect_provider" "github" {
  url = "https://token.actions.githubusercontent.com"
}

resource "aws_iam_role" "builder" {
  name = "fast-ecr-push"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = data.aws_iam_openid_connect_provider.github.arn }
      Condition = {
        StringEquals = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com" }
        StringLike   = { "token.actions.githubusercontent.com:sub" = "repo:${var.repository}:*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "builder" {
  role = aws_iam_role.builder.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "eks:DescribeCluster", Resource = data.aws_eks_cluster.this.arn },
      { Effect = "Allow", Action = "ecr:GetAuthorizationToken", Resource = "*" },
      {
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability",
          "ecr:BatchGetImage",
          "ecr:CompleteLayerUpload",
          "ecr:DescribeRepositories",
          "ecr:GetDownloadUrlForLayer",
          "ecr:GetLifecyclePolicy",
          "ecr:InitiateLayerUpload",
          "ecr:PutImage",
          "ecr:UploadLayerPart",
        ]
        Resource = var.ecr_repository_arn
      },
    ]
  })
}

# Needs the cluster's authentication mode API or API_AND_CONFIG_MAP.
resource "aws_eks_access_entry" "builder" {
  cluster_name      = var.cluster
  principal_arn     = aws_iam_role.builder.arn
  kubernetes_groups = ["fast-ecr-push"]
}
