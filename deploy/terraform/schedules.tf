locals {
  scheduled = {
    for name, function in local.functions : name => function
    if can(function.schedule)
  }
  # A second reconciliation, every night, recounts every row of the ledger.
  deep = {
    for name, function in local.functions : name => function
    if can(function.deepSchedule)
  }
}

# The ledger is reconciled every quarter of an hour. Partitions are created days ahead, so several runs can fail without harm.
resource "aws_scheduler_schedule" "function" {
  for_each = local.scheduled

  name                = "${var.name}-${each.key}"
  schedule_expression = each.value.schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.function[each.key].arn
    role_arn = aws_iam_role.schedule[each.key].arn

    retry_policy {
      maximum_retry_attempts       = each.value.retryAttemptsMax
      maximum_event_age_in_seconds = each.value.eventAgeMaxSeconds
    }
  }
}

resource "aws_scheduler_schedule" "deep" {
  for_each = local.deep

  name                = "${var.name}-${each.key}-deep"
  schedule_expression = each.value.deepSchedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.function[each.key].arn
    role_arn = aws_iam_role.schedule[each.key].arn
    input    = jsonencode({ deep = true })

    retry_policy {
      maximum_retry_attempts       = each.value.retryAttemptsMax
      maximum_event_age_in_seconds = each.value.eventAgeMaxSeconds
    }
  }
}

resource "aws_iam_role" "schedule" {
  for_each = local.scheduled

  name = "${var.name}-${each.key}-schedule"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "schedule" {
  for_each = local.scheduled

  name = "invoke"
  role = aws_iam_role.schedule[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "lambda:InvokeFunction"
      Resource = aws_lambda_function.function[each.key].arn
    }]
  })
}
