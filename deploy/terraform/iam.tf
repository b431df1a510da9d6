# A role for each function, with only the permissions that it needs.

resource "aws_iam_role" "function" {
  for_each = local.functions

  name = "${var.name}-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  for_each = local.functions

  name = "own"
  role = aws_iam_role.function[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.function[each.key].arn}:*"
      }],
      local.network,
      # Lambda creates the network interfaces with this role. The code of the function is denied these calls.
      [{
        Sid       = "NoNetworkForTheCode"
        Effect    = "Deny"
        Action    = concat(local.network_changes, local.network_looks)
        Resource  = "*"
        Condition = { ArnEquals = { "lambda:SourceFunctionArn" = "${local.function_arns}${each.key}" } }
      }],
      local.database_login,
      lookup(local.own_statements, each.key, []),
    )
  })
}

locals {
  # Written out, because the functions depend on their roles.
  function_arns = "arn:${data.aws_partition.current.partition}:lambda:${local.account}:function:${var.name}-"

  # AWS supports only `*` for describe calls, and the resources of the account for changes:
  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
  network_looks = ["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"]
  network_changes = [
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
  ]
  network = [
    { Sid = "SeeTheNetwork", Effect = "Allow", Action = local.network_looks, Resource = "*" },
    {
      Sid      = "JoinTheNetwork"
      Effect   = "Allow"
      Action   = local.network_changes
      Resource = "arn:${data.aws_partition.current.partition}:ec2:${local.account}:*/*"
    },
  ]

  database_login = concat(
    [{
      Sid      = "ReadTheSecret"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = var.database_secret_arn
    }],
    [for key in compact([var.database_secret_kms_key_arn]) : {
      Sid      = "DecryptTheSecret"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = key
    }],
  )

  put_failures = {
    Sid      = "KeepFailures"
    Effect   = "Allow"
    Action   = ["s3:PutObject", "s3:ListBucket"]
    Resource = [aws_s3_bucket.bucket["failures"].arn, "${aws_s3_bucket.bucket["failures"].arn}/*"]
  }

  own_statements = {
    lambda-kinesis = concat(
      [local.put_failures, {
        Sid    = "ReadTheStream"
        Effect = "Allow"
        Action = [
          "kinesis:DescribeStream",
          "kinesis:DescribeStreamSummary",
          "kinesis:GetRecords",
          "kinesis:GetShardIterator",
          "kinesis:ListShards",
        ]
        Resource = aws_kinesis_stream.clicks.arn
      }],
      # The default key of the account needs no permission here.
      [for key in compact([var.stream_kms_key_arn]) : {
        Sid      = "DecryptTheStream"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = key
      }],
    )

    lambda-redirect = concat(
      [{
        Sid      = "WriteToTheStream"
        Effect   = "Allow"
        Action   = ["kinesis:PutRecords"]
        Resource = aws_kinesis_stream.clicks.arn
      }],
      [for key in compact([var.stream_kms_key_arn]) : {
        Sid      = "EncryptForTheStream"
        Effect   = "Allow"
        Action   = ["kms:GenerateDataKey"]
        Resource = key
      }],
    )

    lambda-file = [local.put_failures, {
      Sid    = "ReadFiles"
      Effect = "Allow"
      # Without the permission to list, S3 reports a missing object as forbidden.
      Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"]
      Resource = [aws_s3_bucket.bucket["files"].arn, "${aws_s3_bucket.bucket["files"].arn}/*"]
    }]

    lambda-kafka = [
      {
        Sid      = "FindTheCluster"
        Effect   = "Allow"
        Action   = ["kafka:DescribeCluster", "kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers", "kafka-cluster:Connect"]
        Resource = coalesce(var.kafka_cluster_arn, "none")
      },
      {
        Sid      = "ReadTheTopic"
        Effect   = "Allow"
        Action   = ["kafka-cluster:DescribeTopic", "kafka-cluster:DescribeTopicDynamicConfiguration", "kafka-cluster:ReadData"]
        Resource = local.kafka_topic_arn
      },
      {
        Sid      = "JoinTheGroup"
        Effect   = "Allow"
        Action   = ["kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"]
        Resource = local.kafka_group_arn
      },
      {
        # The pollers join the cluster's network with this role. AWS supports only `*` here.
        Sid      = "SeeTheNetworkOfTheCluster"
        Effect   = "Allow"
        Action   = ["ec2:DescribeSecurityGroups", "ec2:DescribeVpcs"]
        Resource = "*"
      },
    ]
  }
}
