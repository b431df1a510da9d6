# Tollway on AWS Lambda: the clicks in a Kinesis stream (or a topic of MSK), the functions that charge them, the
# redirect behind an HTTP API, schedules and alarms. The database is not created here, because it must outlive these resources; variables
# name it.
#
#   npm run build:functions
#   terraform -chdir=deploy/terraform init
#   terraform -chdir=deploy/terraform apply -var-file=…
#
# The subnets must reach the database and, by a NAT gateway or VPC endpoints, Secrets Manager; for the redirect also Kinesis, for the file
# function also S3. Memory, timeouts, batches and schedules are in ../functions.json.

terraform {
  required_version = ">= 1.5"

  required_providers {
    # The files are valid since 5.100; the provider knows nodejs24.x since 6.20, and `init` installs the newest version. There is no lock
    # file, because it depends on the platforms of the team that uses these files.
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100.0, < 7.0.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { application = var.name }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # `id` is the name of the region in every version of the provider.
  account = "${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"
}
