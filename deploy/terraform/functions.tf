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
  # Lambda calls these on its own time: it keeps the event, and what fails may be tried again.
  asynchronous = {
    for name, function in local.functions : name => function
    if can(function.eventAgeMaxSeconds)
  }

  bundles = coalesce(var.bundles_folder, "${path.module}/../../dist/functions")
  zips    = { for name in keys(local.functions) : name => "${local.bundles}/${name}.zip" }

  # No function is told what it does not need: the keys of the links are the redirect's alone.
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

# Made before the functions, or Lambda makes it, and keeps it for ever.
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

  # Memory buys processor time as well: a whole core at 1 769 MB. A batch of 1 000 clicks stays below 128 MB; 512 MB are
  # for the core's share, so that decoding is done before PostgreSQL is.
  memory_size = each.value.memoryMb
  # A function stops taking records in time; what its timeout cuts off rolls back, and comes again as a whole.
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

  # A function without the right to its network or its log cannot be made, or is mute.
  depends_on = [aws_iam_role_policy.function, aws_cloudwatch_log_group.function]
}

# A failed call for a file ends in the bucket of failures. A failed call by schedule ends there: the next one is near, and
# what could not be looked at now is looked at by the next turn of the schedule.
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
