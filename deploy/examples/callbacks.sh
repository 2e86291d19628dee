#!/bin/sh
# Callbacks: an endpoint is registered, told, and told again. The sandbox's inbox takes them.
API=${API:-http://127.0.0.1:8000}
SANDBOX=${SANDBOX:-http://127.0.0.1:8090}

TOKEN=$(curl -s $API/api/auth/token -d '{"grant_type":"client_credentials","scope":"credit callbacks",
  "client_id":"demo","client_secret":"demo-secret"}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
ENDPOINT=$(curl -s $API/v1/callback-endpoints -H "Authorization: Bearer $TOKEN" \
  -d '{"url":"'$SANDBOX'/inbox/office","eventTypes":["recharge.committed"]}' | sed 's/{"id":"\([^"]*\)".*/\1/')
curl -s $API/v1/callback-endpoints/$ENDPOINT -H "Authorization: Bearer $TOKEN"

# Something to be told of.
BOB=$(curl -s $API/mobile-api/account/info/99a9cc31-84a7-47f5-8f69-bd00dc91a35a | sed 's/.*"data":{"id":\([0-9]*\).*/\1/')
PAYMENTS=$API/v3/rechargeProviders/external/payments
PAYMENT=$(curl -s $PAYMENTS -H "Authorization: Bearer $TOKEN" -d '{"userId":'$BOB',"amount":7}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
curl -s -X POST $PAYMENTS/$PAYMENT/commit -H "Authorization: Bearer $TOKEN" -H 'Prefer: wait=10'
curl -s $SANDBOX/inbox/office

# The log has each attempt. It is told once more, under the same webhook-id.
CALLBACK=$(curl -s "$API/v1/callbacks?endpoint=$ENDPOINT&limit=1" -H "Authorization: Bearer $TOKEN" |
  sed 's/.*"callbacks":\[{"id":"\([^"]*\)".*/\1/')
curl -s -X POST $API/v1/callbacks/$CALLBACK/replay -H "Authorization: Bearer $TOKEN" -H 'Prefer: wait=10'
curl -s $API/v1/callbacks/$CALLBACK -H "Authorization: Bearer $TOKEN"
curl -s -X DELETE $API/v1/callback-endpoints/$ENDPOINT -H "Authorization: Bearer $TOKEN"
