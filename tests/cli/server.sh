# An MCP server that lists two tools on two pages, and nothing else.
echo "starts with ${TOKEN-no token}" >&2
while read -r message; do
    case "$message" in
    *'"method":"initialize"'*)
        echo 'this is no message'
        echo '{"jsonrpc":"2.0","id":1,"method":"ping"}'
        read -r pong
        echo "$pong" >&2
        echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}}'
        ;;
    *'"cursor":"2"'*)
        echo '{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"delete","inputSchema":{"properties":{"api_key":{"type":"string"}},"required":["api_key"]}}]}}'
        ;;
    *'"method":"tools/list"'*)
        case "$1" in
        fails) echo "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-32000,\"message\":\"no tools with $TOKEN\"}}" ;;
        ends) exit ;;
        waits) ;;
        *) echo '{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"create","inputSchema":{"properties":{"title":{"type":"string"}}}}],"nextCursor":"2"}}' ;;
        esac
        ;;
    esac
done
echo "ends" >&2
