variable "name" {
  description = "Prefix of the names of all resources."
  type        = string
  default     = "tollway"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "Expected at most 20 lower case letters, digits and hyphens, the first one a letter: bucket names begin with it."
  }
}

variable "region" {
  description = "AWS region; null for that of the environment (AWS_REGION)."
  type        = string
  default     = null
}

# Network of the functions.

variable "subnet_ids" {
  description = "Private subnets of the functions, in more than one zone; they must reach the database and, by a NAT gateway or VPC endpoints, Secrets Manager, Kinesis and S3."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "Expected at least one subnet."
  }
}

variable "security_group_ids" {
  description = "Security groups of the functions; that of the database must allow connections from them."
  type        = list(string)

  validation {
    condition     = length(var.security_group_ids) > 0
    error_message = "Expected at least one security group."
  }
}

# The ledger. Each function instance has one connection, the redirect two. A proxy handles failover and rotated passwords.

variable "database_endpoint" {
  description = "Host name of the RDS Proxy in front of the ledger. A database without a proxy needs settings = { NODE_EXTRA_CA_CERTS = \"/var/runtime/ca-cert.pem\" }: Node trusts only the certificate authority of proxies."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9.-]+$", var.database_endpoint))
    error_message = "Expected a host name alone, without scheme, port or path."
  }
}

variable "database_port" {
  description = "Port of the database."
  type        = number
  default     = 5432
}

variable "database_name" {
  description = "Name of the database in which `npm run migrate` created the ledger."
  type        = string
  default     = "tollway"
}

variable "database_secret_arn" {
  description = "Secrets Manager secret with the JSON {\"username\": …, \"password\": …} of the functions' database user. It is read when a function starts, so the password is neither in the environment nor in the Terraform state."
  type        = string
}

variable "database_secret_kms_key_arn" {
  description = "KMS key of the secret; null for the default key aws/secretsmanager."
  type        = string
  default     = null
}

# The stream.

variable "stream_shards" {
  description = "Shards of the Kinesis stream; null for on-demand, which begins with four and scales automatically. A shard accepts 1 000 clicks/s."
  type        = number
  default     = null
}

variable "stream_kms_key_arn" {
  description = "KMS key that encrypts the stream; null for the default key aws/kinesis."
  type        = string
  default     = null
}

variable "kafka_cluster_arn" {
  description = "MSK cluster whose topic is also charged; null for none. It must allow logins of IAM roles."
  type        = string
  default     = null
}

variable "kafka_topic" {
  description = "Topic of the clicks in that cluster."
  type        = string
  default     = "tollway-clicks"
}

# The redirect.

variable "link_keys" {
  description = "LINK_KEYS of the redirect: `id:state:secret`, …"
  type        = string
  sensitive   = true
}

variable "has_function_url" {
  description = "Whether the redirect also gets a function URL, without the API. It is one hop less for each click, but every request calls the function."
  type        = bool
  default     = false
}

# Settings of all functions.

variable "settings" {
  description = "More settings of all functions (see docs/configuration.md), such as CLICK_AGE_MAX_DAYS. They override the settings made here."
  type        = map(string)
  default     = {}
}

variable "concurrency_max" {
  description = "Reserved concurrency by function, as in { lambda-redirect = 50 }, which limits the connections to the database. It is taken from the limit of the account, and clicks above the limit of the redirect are lost, so there is none by default. The function of the stream has at most shards × parallelization factor instances."
  type        = map(number)
  default     = {}

  validation {
    condition = alltrue([
      for name in keys(var.concurrency_max) :
      contains(["lambda-kinesis", "lambda-kafka", "lambda-file", "lambda-reconcile", "lambda-maintenance", "lambda-redirect"], name)
    ])
    error_message = "Expected names of functions in functions.json."
  }
}

variable "bundles_folder" {
  description = "Folder of the zips that `npm run build:functions` writes; null for dist/functions."
  type        = string
  default     = null
}

variable "file_retention_days" {
  description = "Days for which a file of clicks is kept: long enough to charge it after an outage of the database. Its clicks are too old after CLICK_AGE_MAX_DAYS."
  type        = number
  default     = 30
}

# Alarms.

variable "alarm_topic_arns" {
  description = "SNS topics that are notified when an alarm starts and ends."
  type        = list(string)
  default     = []
}

variable "iterator_age_alarm_seconds" {
  description = "Age of the oldest click in the stream above which the alarm starts, in seconds."
  type        = number
  default     = 300
}
