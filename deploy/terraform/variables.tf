variable "name" {
  description = "What the names of all that is made begin with."
  type        = string
  default     = "tollway"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "Expected at most 20 lower case letters, digits and hyphens, the first one a letter: bucket names begin with it."
  }
}

variable "region" {
  description = "Region of it all; null for that of the environment (AWS_REGION)."
  type        = string
  default     = null
}

# Where the functions run.

variable "subnet_ids" {
  description = "Private subnets of the functions, in more than one zone; they must reach the database and, by a NAT gateway or VPC endpoints, Secrets Manager, Kinesis and S3."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "Expected at least one subnet."
  }
}

variable "security_group_ids" {
  description = "Security groups of the functions; that of the database must let them in."
  type        = list(string)

  validation {
    condition     = length(var.security_group_ids) > 0
    error_message = "Expected at least one security group."
  }
}

# The ledger. Each function at work holds one connection, the redirect two; a proxy is there for failover and for rotated passwords.

variable "database_endpoint" {
  description = "Host name of the RDS Proxy in front of the ledger. A database without a proxy needs settings = { NODE_EXTRA_CA_CERTS = \"/var/runtime/ca-cert.pem\" }: Node knows the authority of proxies only."
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
  description = "Name of the database that `npm run migrate` has made the ledger in."
  type        = string
  default     = "tollway"
}

variable "database_secret_arn" {
  description = "Secrets Manager secret with the JSON {\"username\": …, \"password\": …} of the functions' database user. It is read when a function starts, so the password is in no environment and no state."
  type        = string
}

variable "database_secret_kms_key_arn" {
  description = "Key of the secret; null if it is the account's own aws/secretsmanager."
  type        = string
  default     = null
}

# The stream.

variable "stream_shards" {
  description = "Shards of the Kinesis stream; null for on-demand, which begins with four and grows by itself. A shard takes 1 000 clicks/s."
  type        = number
  default     = null
}

variable "stream_kms_key_arn" {
  description = "Key that encrypts the stream; null for the account's own aws/kinesis."
  type        = string
  default     = null
}

variable "kafka_cluster_arn" {
  description = "MSK cluster whose topic is charged, too; null for none. It must let IAM roles log in."
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
  description = "Whether the redirect also gets a URL of its own, without the API: one part less in the way of each click, no routes that turn others away."
  type        = bool
  default     = false
}

# All functions.

variable "settings" {
  description = "More settings (see docs/configuration.md) of all functions, such as CLICK_AGE_MAX_DAYS. They win over those that are set here."
  type        = map(string)
  default     = {}
}

variable "concurrency_max" {
  description = "Most instances at work at once, by function, as in { lambda-redirect = 50 }: a cap on the connections to the database. It is taken out of the account's limit, and what the redirect cannot take is lost, so there is none by default. The stream's function has shards × parallelization factor at most, anyway."
  type        = map(number)
  default     = {}

  validation {
    condition = alltrue([
      for name in keys(var.concurrency_max) :
      contains(["lambda-kinesis", "lambda-kafka", "lambda-file", "lambda-reconcile", "lambda-maintenance", "lambda-redirect"], name)
    ])
    error_message = "Expected names of functions, as in functions.json."
  }
}

variable "bundles_folder" {
  description = "Folder of the zips that `npm run build:functions` writes; null for dist/functions."
  type        = string
  default     = null
}

variable "file_retention_days" {
  description = "How long a file of clicks is kept. Long enough to charge it again once the database is back; its clicks are too old after CLICK_AGE_MAX_DAYS."
  type        = number
  default     = 30
}

# Alarms.

variable "alarm_topic_arns" {
  description = "SNS topics that are told of alarms, and of their end."
  type        = list(string)
  default     = []
}

variable "iterator_age_alarm_seconds" {
  description = "Age of the oldest click in the stream that is an alarm."
  type        = number
  default     = 300
}
