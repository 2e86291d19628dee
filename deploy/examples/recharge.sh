#!/bin/sh
# The recharge API: a wallet is topped up in two phases.
API=${API:-http://127.0.0.1:8000}

TOKEN=$(curl -s $API/api/auth/token -d '{"grant_type":"client_credentials","scope":"credit",
  "client_id":"demo","client_secret":"demo-secret"}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
curl -s $API/v3/rechargeProviders -H "Authorization: Bearer $TOKEN"

# The demo's Bob pays 12.50 roubles at the counter: nothing moves yet.
BOB=$(curl -s $API/mobile-api/account/info/99a9cc31-84a7-47f5-8f69-bd00dc91a35a | sed 's/.*"data":{"id":\([0-9]*\).*/\1/')
PAYMENTS=$API/v3/rechargeProviders/external/payments
PAYMENT=$(curl -s $PAYMENTS -H "Authorization: Bearer $TOKEN" \
  -d '{"userId":'$BOB',"description":"at the counter","params":{"amount":12.50,"till":3}}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
curl -s $PAYMENTS/$PAYMENT -H "Authorization: Bearer $TOKEN"

# Committed, it is in his wallet.
curl -s -X POST $PAYMENTS/$PAYMENT/commit -H "Authorization: Bearer $TOKEN" -H 'Prefer: wait=10'
curl -s "$PAYMENTS?userId=$BOB&state=committed&limit=5" -H "Authorization: Bearer $TOKEN"

# Another one is taken back.
PAYMENT=$(curl -s $PAYMENTS -H "Authorization: Bearer $TOKEN" -d '{"userId":'$BOB',"amount":3}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
curl -s $PAYMENTS/$PAYMENT/rollback -H "Authorization: Bearer $TOKEN" -H 'Prefer: wait=10' -d '{"reason":"wrong account"}'
curl -s $PAYMENTS/$PAYMENT -H "Authorization: Bearer $TOKEN"
