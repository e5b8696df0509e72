# Two stacks of real services, for stacks.sh: nginx → a Python program → Redis, and the same program → PostgreSQL with a job that
# dumps it. One image has them all. Sourced.
# shellcheck shell=sh disable=SC2154 # $PLACE of lib.sh

mkdir -p "$PLACE/stack"
cat > "$PLACE/stack/app.py" <<'APP'
import http.server, psycopg2, redis, socket, time

cache = redis.Redis(host="cache")
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        verb, _, word = self.path[1:].partition("/")
        try:
            said = getattr(self, verb)(word)
            self.send_response(200)
        except Exception as e:
            said = repr(e)
            self.send_response(503)
        self.end_headers()
        self.wfile.write(said.encode() + b"\n")
    def hit(self, _):
        return f"hits {cache.incr('hits')} by {socket.gethostname()}"
    def add(self, word):
        with psycopg2.connect("host=db user=postgres") as db, db.cursor() as cursor:
            cursor.execute("create table if not exists visits (word text)")
            cursor.execute("insert into visits values (%s)", (word,))
            cursor.execute("select count(*) from visits")
            return f"rows {cursor.fetchone()[0]}"
    def log_message(self, form, *rest):
        print("answered", form % rest, flush=True)
http.server.ThreadingHTTPServer(("", 8000), Answer).serve_forever()
APP
cat > "$PLACE/stack/nginx.conf" <<'NGINX'
daemon off;
error_log stderr;
pid /run/nginx.pid;
events {}
http {
    access_log off;
    server { listen 80; location / { proxy_pass http://app:8000; } }
}
NGINX
printf 'local all all trust\nhost all all all trust\n' > "$PLACE/stack/hba"
chmod -R a+rX "$PLACE/stack"
# The globs are for the version of PostgreSQL.
cat > "$PLACE/stack/docker-compose.yml" <<'STACK'
volumes: {rows: {}}
services:
  cache:
    image: services
    user: redis
    read_only: true
    cap_drop: [ALL]
    command: redis-server --bind 0.0.0.0 --protected-mode no --save ""
  db:
    image: services
    user: postgres
    stop_signal: SIGINT
    shm_size: 32m
    volumes: ["rows:/var/lib/postgresql", "./hba:/hba:ro"]
    command:
    - sh
    - -c
    - exec /usr/lib/postgresql/*/bin/postgres -D /var/lib/postgresql/*/main -c "config_file=$$(ls /etc/postgresql/*/main/postgresql.conf)"
      -c hba_file=/hba -c 'listen_addresses=*' -c unix_socket_directories=/tmp -c external_pid_file= -c jit=off
  app:
    image: services
    hostname: app1
    stop_signal: SIGINT
    user: nobody
    restart: always
    depends_on: [cache, db]
    volumes: ["./app.py:/app.py:ro"]
    command: python3 /app.py
  front:
    image: services
    restart: on-failure
    depends_on: [app]
    ports: ["127.0.0.1:8090:80"]
    volumes: ["./nginx.conf:/nginx.conf:ro"]
    command: nginx -c /nginx.conf
  dump:
    image: services
    depends_on: [db]
    command: pg_dump -h db -U postgres --data-only postgres
STACK

# stack WHO COMPOSE ENGINE: what holds for either engine. COMPOSE is the program, ENGINE the engine's client.
stack() {
    who=$1 compose=$2 engine=$3
    printf '#!/bin/sh\nexec curl -s --max-time 5 "http://127.0.0.1:8090/$1"\n' > "$PLACE/get"
    chmod +x "$PLACE/get"
    scenario "$who: up" 0 "*" "$compose" up -d front
    chosen "$who: up" && wait_for 40 sh -c "$PLACE/get add/first | grep -q rows && $PLACE/get hit/ | grep -q hits"
    scenario "$who: nginx to Python to Redis" 0 "hits [2-9]* by app1" "$PLACE/get" hit/
    scenario "$who: the counter is in Redis" 0 "[2-9]*" "$compose" exec -T cache redis-cli get hits
    scenario "$who: Python to PostgreSQL" 0 "rows [2-9]*" "$PLACE/get" add/second
    scenario "$who: the rows are in PostgreSQL" 0 "*first*second*" \
        "$compose" exec -T db psql -h /tmp -At -c "select * from visits"
    scenario "$who: a job that dumps it" 0 "*COPY public.visits*first*second*" "$compose" run --rm dump
    scenario "$who: logs" 0 "*answered*GET /add/second*" "$compose" logs app
    # nginx looks its name up once.
    scenario "$who: a program that is killed comes back" 0 "hits [3-9]* by app1" sh -c \
        "$compose kill -s KILL app > /dev/null 2>&1; $compose start app > /dev/null 2>&1; $compose restart front > /dev/null 2>&1; for n in 1 2 3 4 5 6 7 8 9; do
            sleep 0.5; $PLACE/get hit/ | grep hits && exit; done; exit 1"
    scenario "$who: stop" 0 "*" "$compose" stop -t 20
    scenario "$who: PostgreSQL and Redis ended by themselves" 0 "0*0" sh -c \
        "for name in db cache; do $engine inspect -f '{{.State.ExitCode}}' \$($engine ps -aqf name=stack.\$name); done"
    scenario "$who: up again" 0 "*" "$compose" up -d front
    chosen "$who: up again" && wait_for 40 sh -c "$PLACE/get add/third | grep -q rows"
    scenario "$who: the volume has kept the rows" 0 "*first*second*third*" \
        "$compose" exec -T db psql -h /tmp -At -c "select * from visits"
    scenario "$who: down" 0 "*" "$compose" down -v -t 10
    scenario "$who: nothing left" 0 "" sh -c "$engine ps -aq; $engine volume ls -q"
}
