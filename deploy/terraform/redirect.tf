# No access log, because it would contain whole IP addresses, which Tollway does not store.
resource "aws_apigatewayv2_api" "redirect" {
  name          = "${var.name}-redirect"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "redirect" {
  api_id                 = aws_apigatewayv2_api.redirect.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.function["lambda-redirect"].arn
  payload_format_version = "2.0"
}

# The API refuses requests outside of /c/ without calling the function. `token+` also matches characters behind a link, such as a slash.
resource "aws_apigatewayv2_route" "redirect" {
  for_each = toset(["GET", "HEAD"])

  api_id    = aws_apigatewayv2_api.redirect.id
  route_key = "${each.key} /c/{token+}"
  target    = "integrations/${aws_apigatewayv2_integration.redirect.id}"
}

# No throttling except that of the account, because a refused click is lost.
resource "aws_apigatewayv2_stage" "redirect" {
  api_id      = aws_apigatewayv2_api.redirect.id
  name        = "$default"
  auto_deploy = true
}

resource "aws_lambda_permission" "redirect" {
  function_name = aws_lambda_function.function["lambda-redirect"].function_name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.redirect.execution_arn}/*/*/c/{token+}"
}

# The provider adds the permissions for public calls: one, and since 6.28 the second one, which AWS requires of URLs created since October 2025.
# Without it they answer 403.
resource "aws_lambda_function_url" "redirect" {
  count = var.has_function_url ? 1 : 0

  function_name      = aws_lambda_function.function["lambda-redirect"].function_name
  authorization_type = "NONE"
}
