# Tollway on AWS Lambda: the clicks in a Kinesis stream (or a topic of MSK), the functions that charge them, the
# redirect behind an HTTP API, schedules and alarms. The database is not made here: it holds money and outlives all
# of this, so it is given by variables.
#
#   npm run build:functions
#   terraform -chdir=deploy/terraform init
#   terraform -chdir=deploy/terraform apply -var-file=…
#
# The subnets must reach the database, and, by a NAT gateway or VPC endpoints, Secrets Manager; those of the redirect
# Kinesis, too, and those of the file function S3. Memory, timeouts, batches and schedules stand in ../functions.json.

terraform {
  required_version = ">= 1.5"

  required_providers {
    # From 5.100 on the files are valid; nodejs24.x is a runtime that the provider knows from 6.20 on, and `init`
    # brings the newest. No lock file stands beside this: which platforms it has to serve, its owner knows.
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
  # `id` is the region's name in every version of the provider.
  account = "${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"
}
