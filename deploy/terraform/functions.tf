locals {
  settings = jsondecode(file("${path.module}/../functions.json"))
  every_function = {
    runtime      = local.settings.runtime
    architecture = local.settings.architecture
    handler      = local.settings.handler
  }
  functions = {
    for name, function in local.settings.functions : name => merge(local.every_function, function)
    if name != "lambda-kafka" || var.kafka_cluster_arn != null
  }
  # Lambda invokes these asynchronously: it stores the event and can retry it.
  asynchronous = {
    for name, function in local.functions : name => function
    if can(function.eventAgeMaxSeconds)
  }

  bundles = coalesce(var.bundles_folder, "${path.module}/../../dist/functions")
  zips    = { for name in keys(local.functions) : name => "${local.bundles}/${name}.zip" }

  # Each function gets only the settings that it needs. Only the redirect gets the keys of the links.
  environment = {
    DATABASE_URL          = "postgres://${var.database_endpoint}:${var.database_port}/${var.database_name}?sslmode=verify-full"
    DATABASE_SECRET       = var.database_secret_arn
    BROKER                = "kinesis"
    KINESIS_STREAM        = aws_kinesis_stream.clicks.name
    BROKER_RETENTION_DAYS = tostring(local.settings.streamRetentionHours / 24)
  }
  own_environment = {
    lambda-kafka    = { BROKER = "kafka", KAFKA_TOPIC = var.kafka_topic }
    lambda-redirect = { LINK_KEYS = var.link_keys }
  }
}

# Created before the functions. Otherwise Lambda creates it without a retention.
resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = local.settings.logRetentionDays
}

resource "aws_lambda_function" "function" {
  for_each = local.functions

  function_name    = "${var.name}-${each.key}"
  role             = aws_iam_role.function[each.key].arn
  runtime          = each.value.runtime
  architectures    = [each.value.architecture]
  handler          = each.value.handler
  filename         = local.zips[each.key]
  source_code_hash = fileexists(local.zips[each.key]) ? filebase64sha256(local.zips[each.key]) : null

  # CPU time is proportional to memory: one core at 1 769 MB. A batch of 1 000 clicks needs less than 128 MB; 512 MB give enough CPU time
  # that decoding is not slower than PostgreSQL.
  memory_size = each.value.memoryMb
  # A function stops reading records before its timeout. A batch that the timeout interrupts is rolled back and delivered again.
  timeout                        = each.value.timeoutSeconds
  reserved_concurrent_executions = lookup(var.concurrency_max, each.key, -1)

  vpc_config {
    subnet_ids         = var.subnet_ids
    security_group_ids = var.security_group_ids
  }

  environment {
    variables = merge(local.environment, lookup(local.own_environment, each.key, {}), var.settings)
  }

  lifecycle {
    precondition {
      condition     = fileexists(local.zips[each.key])
      error_message = "${local.zips[each.key]} is missing: run npm run build:functions first."
    }
  }

  # Without these permissions the function cannot be created, or cannot write its log.
  depends_on = [aws_iam_role_policy.function, aws_cloudwatch_log_group.function]
}

# The event of a failed call for a file goes to the bucket of failures. A failed scheduled call is dropped, because the next call does the
# same work.
resource "aws_lambda_function_event_invoke_config" "function" {
  for_each = local.asynchronous

  function_name                = aws_lambda_function.function[each.key].function_name
  maximum_retry_attempts       = each.value.retryAttemptsMax
  maximum_event_age_in_seconds = each.value.eventAgeMaxSeconds

  dynamic "destination_config" {
    for_each = each.key == "lambda-file" ? [aws_s3_bucket.bucket["failures"].arn] : []

    content {
      on_failure {
        destination = destination_config.value
      }
    }
  }
}
